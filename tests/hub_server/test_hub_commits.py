"""Commits through the client: what arrives, what is refused, and that it is all or nothing."""

from __future__ import annotations

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor

import huggingface_hub as hf
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, constants
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RemoteEntryNotFoundError, RevisionNotFoundError

from . import HubServer

REPO = "alice/model"


@pytest.fixture(autouse=True)
def repo(hub):
    hub.seed(REPO, {"old.txt": b"old", "folder/a.txt": b"a", "folder/b.txt": b"b"})


def commit(*operations, **options):
    return hf.create_commit(REPO, list(operations), commit_message="change", **options)


def post_commit(hub, *operations):
    """A commit that the client would refuse to send."""
    lines = [{"key": "header", "value": {"summary": "x"}}, *operations]
    response = hf.get_session().post(
        f"{hub.url}/api/models/{REPO}/commit/main",
        content=b"\n".join(json.dumps(line).encode() for line in lines),
        headers={"authorization": "Bearer hf_alice"},
    )
    hf.utils.hf_raise_for_status(response)


def paths(hub):
    return [each.path.split("?")[0] for each in hub.requests]


def test_regular_and_large_files(hub, tmp_path):
    weights = os.urandom(5000)
    (tmp_path / "w.safetensors").write_bytes(weights)
    made = commit(
        CommitOperationAdd("new.json", b"{}"),
        CommitOperationAdd("deep/w.safetensors", str(tmp_path / "w.safetensors")),
        CommitOperationAdd("image.png", io.BytesIO(b"\x89PNG\0\xff")),
        CommitOperationDelete("old.txt"),
        CommitOperationDelete("folder/"),
        commit_description="and why",
    )
    assert made.commit_url == f"{hub.url}/{REPO}/commit/{made.oid}"
    assert hub.files(REPO) == {
        "new.json": b"{}",
        "deep/w.safetensors": weights,
        "image.png": b"\x89PNG\0\xff",
    }
    large = {each.path: each.lfs is not None for each in hf.get_paths_info(REPO, list(hub.files(REPO)))}
    assert large == {"new.json": False, "deep/w.safetensors": True, "image.png": True}
    newest = hf.list_repo_commits(REPO)[0]
    assert (newest.commit_id, newest.title, newest.message) == (made.oid, "change", "and why")
    assert newest.authors == ["alice"]


def test_upload_file_and_folder(hub, tmp_path):
    for name in ("x.txt", "sub/y.bin"):
        (tmp_path / "up" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "up" / name).write_text(name)
    hf.upload_file(path_or_fileobj=b"z", path_in_repo="z.txt", repo_id=REPO)
    hf.upload_folder(folder_path=tmp_path / "up", path_in_repo="into", repo_id=REPO, delete_patterns=["*"])
    hf.delete_file("old.txt", REPO)
    assert hub.files(REPO) == {
        "folder/a.txt": b"a",
        "folder/b.txt": b"b",
        "z.txt": b"z",
        "into/x.txt": b"x.txt",
        "into/sub/y.bin": b"sub/y.bin",
    }
    assert len(hf.list_repo_commits(REPO)) == 4


def test_threshold(tmp_path, hub):
    with HubServer(tmp_path / "small", lfs_threshold=10) as small:
        small.add_user("alice")
        api = hf.HfApi(endpoint=small.url)
        api.create_repo(REPO)
        for name, size in {"ten.txt": 10, "eleven.txt": 11}.items():
            api.upload_file(path_or_fileobj=b"t" * size, path_in_repo=name, repo_id=REPO)
        found = {each.path: bool(each.lfs) for each in api.get_paths_info(REPO, ["ten.txt", "eleven.txt"])}
    assert found == {"ten.txt": False, "eleven.txt": True}


def test_in_parts(tmp_path, hub):
    data = os.urandom(2500)
    with HubServer(tmp_path / "parts", part_size=1000) as parts:
        parts.add_user("alice")
        api = hf.HfApi(endpoint=parts.url)
        api.create_repo(REPO)
        api.upload_file(path_or_fileobj=data, path_in_repo="w.safetensors", repo_id=REPO)
        assert parts.files(REPO)["w.safetensors"] == data
        assert [each.method for each in parts.requests if "/lfs-upload/" in each.path] == ["PUT"] * 3 + ["POST"]
    assert list((tmp_path / "parts" / "tmp").iterdir()) == []


def test_known_content_is_not_sent_again(hub):
    commit(CommitOperationAdd("one.bin", b"same"))
    hub.clear_requests()
    commit(CommitOperationAdd("two.bin", b"same"))
    assert not [path for path in paths(hub) if path.startswith("/lfs-upload/")]
    assert hub.files(REPO)["two.bin"] == b"same"


def test_nothing_new(hub):
    before = hf.model_info(REPO).sha
    assert commit(CommitOperationAdd("old.txt", b"old")).oid == before


def test_copy(hub):
    commit(CommitOperationAdd("w.bin", b"weights"))
    commit(CommitOperationCopy("w.bin", "v.bin"), CommitOperationCopy("old.txt", "new.txt"))
    files = hub.files(REPO)
    assert (files["v.bin"], files["new.txt"]) == (b"weights", b"old")


def test_parent(hub):
    head = hf.model_info(REPO).sha
    made = commit(CommitOperationAdd("a", b"1"), parent_commit=head)
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as error:
        commit(CommitOperationAdd("b", b"2"), parent_commit=head)
    assert error.value.response.status_code == 412
    assert hf.model_info(REPO).sha == made.oid


def test_many_at_once(hub):
    """Of those who build on the same commit one gets through; those who do not care all do."""
    head = hf.model_info(REPO).sha

    def attempt(name, **options):
        try:
            return commit(CommitOperationAdd(name, b"x"), **options).oid
        except HfHubHTTPError as error:
            return error.response.status_code

    with ThreadPoolExecutor(8) as pool:
        strict = list(pool.map(lambda name: attempt(name, parent_commit=head), "abcdefgh"))
        assert strict.count(412) == 7
        free = list(pool.map(attempt, "ABCDEFGH"))
    assert len(hf.list_repo_commits(REPO)) == 1 + 1 + 8
    assert len(set(free)) == 8
    assert len(hub.files(REPO)) == 3 + 1 + 8


def test_missing_branch(hub):
    with pytest.raises(RevisionNotFoundError):
        commit(CommitOperationAdd("a", b"1"), revision="nowhere")


@pytest.mark.parametrize("path", ["missing.txt", "missing/"])
def test_deleting_nothing(hub, path):
    before = hub.files(REPO)
    with pytest.raises(RemoteEntryNotFoundError, match="doesn't exist"):
        commit(CommitOperationAdd("a", b"1"), CommitOperationDelete(path))
    assert hub.files(REPO) == before


@pytest.mark.parametrize(
    "path", ["../up", "a/../b", "/abs", "a//b", "a/", "", ".", "./a", ".git/config", "a/.git/x", "a\\b", "a\nb", 3]
)
def test_hostile_paths(hub, path):
    before = hub.files(REPO)
    good = {"key": "file", "value": {"path": "good", "content": "x"}}
    with pytest.raises(BadRequestError, match="path"):
        post_commit(hub, good, {"key": "file", "value": {"path": path, "content": "x"}})
    assert hub.files(REPO) == before


def test_file_and_folder(hub):
    with pytest.raises(BadRequestError, match=r"old\.txt cannot be a file and a folder"):
        commit(CommitOperationAdd("old.txt/x", b"1"))


def test_malformed_commits(hub):
    lfs = {"path": "w.bin", "algo": "sha256", "oid": "0" * 64, "size": 3}
    for operation, message in [
        ({"key": "lfsFile", "value": lfs}, "was never uploaded"),
        ({"key": "lfsFile", "value": {**lfs, "oid": "../../users.json"}}, "was never uploaded"),
        ({"key": "file", "value": {"path": "a", "content": "!", "encoding": "base64"}}, "a: "),
        ({"key": "magic", "value": {}}, "unknown operation 'magic'"),
        (["no", "operation"], "line 2 of the commit is not an operation"),
    ]:
        with pytest.raises(BadRequestError, match=message):
            post_commit(hub, operation)


def test_upload_of_something_else(hub):
    """The storage takes exactly the announced bytes, and only under an address it gave out."""
    ask = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": "0" * 64, "size": 4}]}
    headers = {"authorization": "Bearer hf_alice"}
    session = hf.get_session()
    answer = session.post(f"{hub.url}/{REPO}.git/info/lfs/objects/batch", json=ask, headers=headers).json()
    actions = answer["objects"][0]["actions"]
    assert session.put(actions["upload"]["href"], content=b"four").status_code == 400
    assert session.put(f"{hub.storage_url}/lfs-upload/guess", content=b"four").status_code == 403
    verify = session.post(actions["verify"]["href"], json={"oid": "0" * 64, "size": 4}, headers=headers)
    assert verify.status_code == 404
    assert list((hub.store.root / "tmp").iterdir()) == []


def test_datasets_are_apart(hub):
    hf.create_repo(REPO, repo_type="dataset")
    hf.upload_file(path_or_fileobj=b"rows", path_in_repo="d.parquet", repo_id=REPO, repo_type="dataset")
    assert hub.files(REPO, repo_type="dataset")["d.parquet"] == b"rows"
    assert "d.parquet" not in hub.files(REPO)


def test_without_xet_an_open_file_is_what_works(hub, tmp_path, monkeypatch):
    """The client sends paths through Xet where it can; this hub, like a mirror, has none."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"weights")
    with pytest.raises(ConnectionError, match="404 Not Found"):
        commit(CommitOperationAdd("w.safetensors", str(path)))
    with path.open("rb") as file:
        commit(CommitOperationAdd("w.safetensors", file))
    assert hub.files(REPO)["w.safetensors"] == b"weights"
