"""Branches, tags, pull requests and discussions through the client."""

from __future__ import annotations

import huggingface_hub as hf
import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RevisionNotFoundError

REPO = "alice/model"


@pytest.fixture(autouse=True)
def repo(hub):
    return hub.seed(REPO, {"a.txt": b"one\ntwo\n", "b.txt": b"b"})


def upload(name, data, **options):
    return hf.upload_file(path_or_fileobj=data, path_in_repo=name, repo_id=REPO, **options)


def propose(name, data, token="hf_bob"):
    made = hf.create_commit(
        REPO, [CommitOperationAdd(name, data)], commit_message="Better", create_pr=True, token=token
    )
    return made.pr_num


def test_branches(hub, repo):
    hf.create_branch(REPO, branch="try/this")
    with pytest.raises(HfHubHTTPError) as error:
        hf.create_branch(REPO, branch="try/this")
    assert error.value.response.status_code == 409
    hf.create_branch(REPO, branch="try/this", exist_ok=True)
    upload("c.txt", b"c", revision="try/this")
    assert "c.txt" in hf.list_repo_files(REPO, revision="try/this")
    assert "c.txt" not in hf.list_repo_files(REPO)
    hf.create_branch(REPO, branch="early", revision=repo)
    refs = {ref.name: ref.target_commit for ref in hf.list_repo_refs(REPO).branches}
    assert refs == {"main": repo, "early": repo, "try/this": hf.model_info(REPO, revision="try/this").sha}
    hf.delete_branch(REPO, branch="try/this")
    with pytest.raises(RevisionNotFoundError):
        hf.list_repo_files(REPO, revision="try/this")
    with pytest.raises(HfHubHTTPError, match="main branch cannot be deleted"):
        hf.delete_branch(REPO, branch="main")


def test_tags(hub, repo):
    hf.create_tag(REPO, tag="v1", tag_message="first")
    upload("c.txt", b"c")
    hf.create_tag(REPO, tag="v0", revision=repo[:8])
    assert {tag.name: tag.target_commit for tag in hf.list_repo_refs(REPO).tags} == {"v1": repo, "v0": repo}
    assert hf.model_info(REPO, revision="v1").sha == repo
    with pytest.raises(HfHubHTTPError) as error:
        hf.create_tag(REPO, tag="v1")
    assert error.value.response.status_code == 409
    with pytest.raises(RevisionNotFoundError):
        hf.create_tag(REPO, tag="v2", revision="nowhere")
    hf.delete_tag(REPO, tag="v1")
    with pytest.raises(RevisionNotFoundError):
        hf.delete_tag(REPO, tag="v1")


def test_history(hub, repo):
    made = [upload("c.txt", text).oid for text in (b"1", b"2")]
    assert [each.commit_id for each in hf.list_repo_commits(REPO)] == [made[1], made[0], repo]
    assert [each.commit_id for each in hf.list_repo_commits(REPO, revision=made[0])] == [made[0], repo]
    assert hf.list_repo_commits(REPO, formatted=True)[0].formatted_title == "Upload c.txt with huggingface_hub"


def test_proposing(hub, repo):
    """Anybody may propose; owners merge."""
    made = hf.create_commit(
        REPO, [CommitOperationAdd("a.txt", b"one\n2\n")], commit_message="Better", create_pr=True, token="hf_bob"
    )
    assert (made.pr_revision, made.pr_url) == ("refs/pr/1", f"{hub.url}/{REPO}/discussions/1")
    assert hf.model_info(REPO).sha == repo
    assert hf.model_info(REPO, revision="refs/pr/1").sha == made.oid
    upload("w.safetensors", b"weights", revision="refs/pr/1", token="hf_bob")
    details = hf.get_discussion_details(REPO, 1)
    assert (details.status, details.author, details.target_branch) == ("open", "bob", "main")
    assert [event.type for event in details.events] == ["comment", "commit", "commit"]
    assert details.conflicting_files == []
    assert "-two\n+2" in details.diff
    assert [ref.ref for ref in hf.list_repo_refs(REPO, include_pull_requests=True).pull_requests] == ["refs/pr/1"]
    with pytest.raises(HfHubHTTPError) as error:
        hf.merge_pull_request(REPO, 1, token="hf_bob")
    assert error.value.response.status_code == 403
    upload("b.txt", b"meanwhile")
    hf.merge_pull_request(REPO, 1, comment="thanks")
    assert hub.files(REPO) == {"a.txt": b"one\n2\n", "b.txt": b"meanwhile", "w.safetensors": b"weights"}
    details = hf.get_discussion_details(REPO, 1)
    assert (details.status, details.merge_commit_oid) == ("merged", hf.model_info(REPO).sha)
    assert [event.type for event in details.events][-2:] == ["comment", "status-change"]
    with pytest.raises(BadRequestError, match="1 is merged"):
        hf.merge_pull_request(REPO, 1)


def test_conflict(hub):
    number = propose("a.txt", b"theirs")
    upload("a.txt", b"ours")
    assert hf.get_discussion_details(REPO, number).conflicting_files == ["a.txt"]
    with pytest.raises(HfHubHTTPError, match=r"conflicts with main in a\.txt") as error:
        hf.merge_pull_request(REPO, number)
    assert error.value.response.status_code == 409
    assert hub.files(REPO)["a.txt"] == b"ours"


def test_draft(hub):
    """An empty pull request is a draft until it is opened."""
    made = hf.create_pull_request(REPO, title="To come", token="hf_bob")
    assert (made.num, made.status, made.git_reference) == (1, "draft", "refs/pr/1")
    upload("c.txt", b"c", revision="refs/pr/1", token="hf_bob")
    with pytest.raises(BadRequestError, match="1 is draft"):
        hf.merge_pull_request(REPO, 1)
    hf.change_discussion_status(REPO, 1, "open", token="hf_bob")
    hf.merge_pull_request(REPO, 1)
    assert hub.files(REPO)["c.txt"] == b"c"


def test_pushing_to_the_proposal_of_somebody_else(hub):
    hub.add_user("carol")
    number = propose("a.txt", b"theirs")
    with pytest.raises(HfHubHTTPError, match="rights to write"):
        upload("c.txt", b"c", revision=f"refs/pr/{number}", token="hf_carol")
    upload("c.txt", b"c", revision=f"refs/pr/{number}")


def test_discussions(hub):
    made = hf.create_discussion(REPO, title="A question", description="Why?", token="hf_bob")
    assert (made.num, made.status, made.is_pull_request, made.events[0].content) == (1, "open", False, "Why?")
    propose("a.txt", b"theirs")
    assert hf.comment_discussion(REPO, 1, "Because.").content == "Because."
    change = hf.rename_discussion(REPO, 1, new_title="An answer")
    assert (change.old_title, change.new_title) == ("A question", "An answer")
    assert hf.change_discussion_status(REPO, 1, "closed", comment="done").new_status == "closed"
    found = [(each.num, each.title, each.status) for each in hf.get_repo_discussions(REPO)]
    assert found == [(2, "Better", "open"), (1, "An answer", "closed")]
    assert [each.num for each in hf.get_repo_discussions(REPO, discussion_type="discussion")] == [1]
    assert [each.num for each in hf.get_repo_discussions(REPO, discussion_status="open")] == [2]
    assert [each.num for each in hf.get_repo_discussions(REPO, author="alice")] == []


def test_many_discussions(hub):
    for number in range(23):
        hf.create_discussion(REPO, title=f"number {number}")
    assert [each.num for each in hf.get_repo_discussions(REPO)] == list(range(23, 0, -1))
