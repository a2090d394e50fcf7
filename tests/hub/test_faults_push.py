"""Uploads that go wrong: the repository is whole, nothing is sent twice, the message says what to do, a retry works."""

import random

import pytest
from huggingface_hub import HfApi

import qvec_hub as qv

from ..hub_server import Fault
from .conftest import patience, same

REPO = "alice/toys-qvec"
load = qv.QuantizationVector.from_pretrained

CREATE, LOOK, LIST = "/api/repos/create", rf"/api/models/{REPO}(\?|$)", f"/api/models/{REPO}/tree/"
PREUPLOAD, BATCH, COMMIT = "/preupload/", "/objects/batch", f"/api/models/{REPO}/commit/"
VERIFY, PUT, YAML, CARD = "/objects/verify", "/lfs-upload/", "/api/validate-yaml", "resolve/.*README.md"
STEPS = {
    "create": CREATE, "look": LOOK, "list": LIST, "card": CARD, "yaml": YAML, "preupload": PREUPLOAD,
    "batch": BATCH, "put": PUT, "verify": VERIFY, "commit": COMMIT,
}  # fmt: skip


@pytest.fixture
def pushed(hub, vector):
    """A published vector."""
    vector.push_to_hub(REPO)
    hub.clear_requests()
    return hub


def commits(revision: str = "main") -> int:
    return len(HfApi().list_repo_commits(REPO, revision=revision))


def whole(hub, old, new, before: dict[str, bytes]) -> None:
    """After failures: the repository is as it was, and the next push does what they were to do."""
    assert hub.files(REPO) == before
    assert same(load(REPO), old)
    new.push_to_hub(REPO)
    assert same(load(REPO), new)
    assert commits() == 3  # the repository's own, the first, and this one


REFUSALS = {
    401: "does not accept your token; log in again|log in with",
    403: "may not do this",
    404: "HTTP 404|no such|missing",
    409: "somebody else changed the repository at the same time; look at it and try again",
    412: "somebody else changed the repository at the same time; look at it and try again",
    413: "too large",
    429: "too many requests; wait a few minutes and try again",
    500: "the Hub answered 500; try again later",
    503: "the Hub answered 503; try again later",
}


@pytest.mark.parametrize("step", STEPS)
def test_refusals_for_good(pushed, vector, step: str) -> None:
    before = pushed.files(REPO)
    for i, (code, said) in enumerate(REFUSALS.items(), 3):
        if step == "create" and code in (401, 403, 409):
            continue  # so the Hub may speak of a repository that exists, and the client goes on
        if step == "verify" and code in (429, 500, 503):
            continue  # what is to be verified has arrived, so another attempt finds it there
        said = "makes no sense" if step == "yaml" else said  # here the client reads the body before the status
        pushed.inject(Fault("status", path=STEPS[step], code=code, times=None))
        with pytest.raises(qv.HubError, match=rf"^{REPO}: .*({said}).*(nothing was uploaded|the repository)") as caught:
            (i * vector).push_to_hub(REPO)
        assert "\n" not in str(caught.value)
        pushed.clear_faults()
    whole(pushed, vector, 2 * vector, before)


@pytest.mark.parametrize("step", ["preupload", "batch", "put", "verify", "commit"])
def test_once_is_bridged(pushed, vector, asked, step: str) -> None:
    for i, kind in enumerate(["status", "cut", "hang", "cut_upload"]):
        pushed.clear_requests()
        pushed.inject(Fault(kind, path=STEPS[step], code=503, seconds=20, method="POST|PUT"))
        with patience(1.0):
            (2 * (i + 1) * vector).push_to_hub(REPO)
        assert same(load(REPO), 2 * (i + 1) * vector)
        assert commits() == i + 3
        # An answer to a PUT has no body to be cut.
        assert len(asked("PUT", "/lfs-upload/")) == 1 + (step == "put" and kind != "cut")


@pytest.mark.parametrize("step", [step for step in STEPS if step != "verify"])
def test_silence_and_broken_connections_for_good(pushed, vector, monkeypatch, step: str) -> None:
    monkeypatch.setattr("qvec_hub.hub.transfer.commit.ATTEMPTS", 1)
    before = pushed.files(REPO)
    for kind in ("hang", "cut"):
        if kind == "cut" and step in ("put", "commit"):
            continue  # the file, or the commit, has arrived
        pushed.inject(Fault(kind, path=STEPS[step], seconds=20, times=None))
        said = rf"^{REPO}: .*the connection to http.* failed or broke .*try again"
        with patience(0.08), pytest.raises(qv.HubError, match=said):
            (2 * vector).push_to_hub(REPO)
        pushed.clear_faults()
    whole(pushed, vector, 2 * vector, before)


def test_a_rejected_commit(pushed, vector) -> None:
    before = pushed.files(REPO)
    pushed.inject(Fault("commit_rejected", code=400, times=None, headers={"X-Error-Message": "no such licence"}))
    with pytest.raises(
        qv.HubError, match=r"the Hub refused the content of the request; correct what it names .*licence"
    ):
        (2 * vector).push_to_hub(REPO)
    pushed.clear_faults()
    whole(pushed, vector, 2 * vector, before)


@pytest.mark.parametrize("create_pr", [False, True])
@pytest.mark.parametrize("times", [1, None])
def test_a_lost_answer_is_not_a_lost_commit(pushed, vector, asked, create_pr: bool, times: int | None) -> None:
    pushed.inject(Fault("commit_lost", times=times))
    done = (2 * vector).push_to_hub(REPO, create_pr=create_pr)
    assert len(asked("POST", "/commit/")) == 1
    assert done.pr_revision == ("refs/pr/1" if create_pr else None)
    assert HfApi().list_repo_commits(REPO, revision=done.pr_revision)[0].commit_id == done.oid
    assert str(done) == f"{pushed.url}/{REPO}/commit/{done.oid}"
    assert commits() == (2 if create_pr else 3)
    assert len(list(HfApi().get_repo_discussions(REPO))) == create_pr
    assert same(load(f"{REPO}@{done.pr_revision or 'main'}"), 2 * vector)


def test_a_lost_answer_and_somebody_else_after_it(pushed, vector, monkeypatch) -> None:
    """The commit is ours also when the branch has gone on from it."""
    look = HfApi.list_repo_commits
    theirs = []

    def later(self, *args, **kwargs):
        if not theirs:
            theirs.append(pushed.seed(REPO, {"README.md": b"# Theirs\n"}))
        return look(self, *args, **kwargs)

    monkeypatch.setattr(HfApi, "list_repo_commits", later)
    pushed.inject(Fault("commit_lost"))
    done = (2 * vector).push_to_hub(REPO)
    assert [each.commit_id for each in look(HfApi(), REPO)][:2] == [theirs[0], done.oid]


def test_a_commit_nobody_can_ask_about(pushed, vector) -> None:
    pushed.inject(Fault("commit_lost"), Fault("status", path=LIST, code=503, skip=1, times=None))
    pushed.inject(Fault("status", path=PREUPLOAD, code=503, skip=1, times=None))
    with pytest.raises(qv.HubError, match=f"^{REPO}: .*whether it has changed is not known.*before you push again"):
        (2 * vector).push_to_hub(REPO)
    pushed.clear_faults()
    assert same(load(REPO), 2 * vector)
    (2 * vector).push_to_hub(REPO)
    assert commits() == 3


@pytest.mark.parametrize(("step", "method"), [("put", "PUT"), ("commit", "POST"), ("batch", "POST")])
def test_connections_cut_while_sending(pushed, vector, asked, step: str, method: str) -> None:
    """At every one of some random bytes: the client starts that file again, the others stay."""
    limit = {"put": 90_000, "commit": 3_000, "batch": 150}[step]
    random_bytes = random.Random(11).sample(range(limit), 3)
    for i, at in enumerate([1, *random_bytes]):
        pushed.clear_requests()
        pushed.inject(Fault("cut_upload", method, STEPS[step], at=at))
        new = (i + 2) * vector
        new.push_to_hub(REPO)
        assert commits() == i + 3
        assert len(asked("PUT", "/lfs-upload/")) == 1 + (step == "put")
        assert same(load(REPO), new)


def test_what_was_uploaded_before_a_failure_is_not_uploaded_again(pushed, vector, unrelated, asked) -> None:
    pushed.inject(Fault("commit_rejected", code=503, times=None))
    with pytest.raises(qv.HubError, match="try again later"):
        unrelated.push_to_hub(REPO, replace=True)
    assert len(asked("PUT", "/lfs-upload/")) == 2  # tensors and sketch, once in all attempts
    pushed.clear_faults()
    unrelated.push_to_hub(REPO, replace=True)
    assert len(asked("PUT", "/lfs-upload/")) == 2
    assert same(load(REPO), unrelated)


def test_a_card_that_cannot_be_read_is_not_overwritten(pushed, vector) -> None:
    """What stands there by hand may not be lost because a connection was."""
    pushed.seed(REPO, {"README.md": b"## Mine\n\nby hand\n"})
    before = pushed.files(REPO)
    for fault in (
        Fault("cut", "HEAD|GET", CARD, times=None),
        Fault("status", path=CARD, code=404, error_code="EntryNotFound", times=None),
        Fault("flip", "GET", CARD, at=3, times=None),
        Fault("truncate", path=CARD, at=3, times=None),
    ):
        pushed.inject(fault)
        with pytest.raises(qv.HubError, match=rf"^{REPO}: its README.md .*nothing was uploaded"):
            (2 * vector).push_to_hub(REPO)
        assert pushed.files(REPO) == before
        pushed.clear_faults()
    (2 * vector).push_to_hub(REPO)
    assert b"by hand" in pushed.files(REPO)["README.md"]


NONSENSE = [b"<html>Sign in</html>", b"{}", b"[]", b"null", b"[1]", b'{"files": 1}', b""]


@pytest.mark.parametrize("step", ["create", "look", "list", "preupload", "batch", "commit"])
def test_nonsense_with_status_200(pushed, vector, nonsense, step: str) -> None:
    before = pushed.files(REPO)
    for body in NONSENSE:
        if step == "list" and body in (b"{}", b"[]"):
            continue  # an empty repository, as far as anybody can tell
        nonsense(STEPS[step].split(r"(\?")[0] + ("$" if step == "look" else ""), body)
        with pytest.raises(qv.HubError, match=f"^{REPO}: ") as caught:
            (2 * vector).push_to_hub(REPO)
        assert "<html" not in str(caught.value)
        nonsense()
    whole(pushed, vector, 2 * vector, before)
