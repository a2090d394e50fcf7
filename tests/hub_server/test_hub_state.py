"""The state on disk: it survives, and is never half of a change."""

from __future__ import annotations

import shutil

import huggingface_hub as hf
import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError

from . import HubServer

REPO = "alice/model"
CARD = b"---\nlicense: mit\ntags: [qvec]\n---\n"


class Killed(BaseException):
    """Not an Exception, so that nothing on the way takes it for an error to be handled."""


def test_a_new_server_serves_the_same(tmp_path, hub):
    hf.create_repo("lab/secret", private=True)
    hf.upload_file(path_or_fileobj=b"w", path_in_repo="w.safetensors", repo_id="lab/secret")
    hub.seed(REPO, {"README.md": CARD, "config.json": b"{}"}, downloads=3)
    hf.hf_hub_download(REPO, "config.json")
    hf.create_tag(REPO, tag="v1")
    hf.create_commit(REPO, [CommitOperationAdd("b", b"b")], commit_message="More", create_pr=True, token="hf_bob")
    hf.upload_file(path_or_fileobj=b"c", path_in_repo="c", repo_id=REPO)

    def everything(api):
        return (
            api.whoami(),
            [api.repo_info(name, files_metadata=True) for name in (REPO, "lab/secret")],
            api.list_repo_refs(REPO, include_pull_requests=True),
            api.list_repo_commits(REPO),
            api.get_discussion_details(REPO, 1),
            [each.id for each in api.list_models(filter="qvec")],
        )

    before = everything(hf.HfApi(endpoint=hub.url))
    hub.stop()
    with HubServer(tmp_path / "hub") as again:
        api = hf.HfApi(endpoint=again.url)
        after = everything(api)
        assert after[:4] + after[5:] == before[:4] + before[5:]
        assert vars(after[4]) | {"endpoint": hub.url} == vars(before[4])
        assert after[1][0].downloads == 4
        api.merge_pull_request(REPO, 1)
        assert set(again.files(REPO)) == {"README.md", "config.json", "b", "c"}


def kill_at(hub, monkeypatch, number):
    """Let the process die, as far as the disk can tell, before its write number `number`."""
    left = iter(range(number))

    def on_write(path):
        if next(left, None) is None:
            raise Killed(path)

    monkeypatch.setattr(hub.store, "on_write", on_write)


def change(hub):
    """A commit, a pull request, a merge, a deletion: whatever must be done wholly or not at all."""
    hf.create_commit(REPO, [CommitOperationAdd("a", b"2"), CommitOperationAdd("b", b"2")], commit_message="both")


def propose(hub):
    hf.create_commit(REPO, [CommitOperationAdd("a", b"2")], commit_message="propose", create_pr=True)


def merge(hub):
    hf.merge_pull_request(REPO, 1)


def create(hub):
    hf.create_repo("alice/new")


def done(action, hub):
    try:
        action(hub)
    except HfHubHTTPError:
        return False
    return True


def snapshot(root):
    """All a new server makes of this state: files by revision, and discussions."""
    with HubServer(root) as hub:
        found = {}
        for (kind, repo_id), repo in hub.store.repos.items():
            found[kind, repo_id] = [(each["num"], each["status"]) for each in repo.discussions]
            for ref in repo.refs:
                found[kind, repo_id, ref] = hub.files(repo_id, ref)
        return found


@pytest.mark.parametrize("action", [change, propose, merge, create])
def test_killed_at_any_write(tmp_path, hub, monkeypatch, action):
    hub.seed(REPO, {"a": b"1"})
    if action is merge:
        propose(hub)
    shutil.copytree(tmp_path / "hub", tmp_path / "untouched")
    before, after, seen = snapshot(tmp_path / "untouched"), None, []
    for number in range(20):
        kill_at(hub, monkeypatch, number)
        if done(action, hub):
            after = snapshot(tmp_path / "hub")
            break
        shutil.copytree(tmp_path / "hub", tmp_path / f"killed-{number}")
        seen.append(snapshot(tmp_path / f"killed-{number}"))
    assert len(seen) > 1
    assert seen == [before] * len(seen)
    assert after not in (before, None)


def test_leftovers_of_uploads_go(tmp_path):
    with HubServer(tmp_path / "hub") as hub:
        hub.store.scratch().write_bytes(b"half")
    with HubServer(tmp_path / "hub"):
        assert list((tmp_path / "hub" / "tmp").iterdir()) == []


def test_two_hubs_at_once(tmp_path, hub):
    with HubServer(tmp_path / "other") as other:
        other.seed(REPO, {"a": b"other"})
        hub.seed(REPO, {"a": b"this"})
        assert hub.url != other.url
        assert (hub.files(REPO), other.files(REPO)) == ({"a": b"this"}, {"a": b"other"})
