"""Downloads that go wrong: nothing broken is used or left behind, the message says what to do, a retry works."""

import random
from pathlib import Path

import pytest
from huggingface_hub import constants

import qvec_hub as qv

from ..hub_server import Fault
from .conftest import patience, same

REPO = "alice/toys-qvec"
load = qv.QuantizationVector.from_pretrained
CONFIG, TENSORS, LINEAGE = "qvec_config.json", "/cdn/.*/qvec.safetensors", "/cdn/.*/lineage.safetensors"
LOOK, LIST = rf"/api/models/{REPO}(/revision/main)?(\?|$)", f"/api/models/{REPO}/tree/"


@pytest.fixture
def seeded(hub, vector_files):
    """A vector in the Hub."""
    hub.seed(REPO, vector_files)
    return hub


def leftovers() -> list[Path]:
    return [path for path in Path(constants.HF_HUB_CACHE).rglob("*") if path.name.endswith((".incomplete", ".tmp"))]


def refused(hub, vector, said: str, cache: str = "cache", seconds: float = 10) -> None:
    """A load fails in our words and leaves nothing behind; when the fault is over the next one works."""
    options = {"cache_dir": Path(constants.HF_HUB_CACHE) / cache}
    with patience(seconds), pytest.raises(qv.HubError, match=f"toys-qvec.*{said}") as caught:
        load(REPO, **options)
    assert "\n" not in str(caught.value)
    assert "<html" not in str(caught.value)
    assert leftovers() == []
    hub.clear_faults()
    assert same(load(REPO, **options), vector)
    assert same(load(REPO, local_files_only=True, **options), vector)


REFUSALS = {
    401: "does not accept your token; log in again",
    403: "may not do this",
    409: "at the same time",
    412: "at the same time",
    413: "too large",
    429: "too many requests; wait a few minutes",
    500: "the Hub answered 500; try again later",
    503: "the Hub answered 503; try again later",
}
STEPS = {"look": LOOK, "list": LIST, "config": CONFIG, "data": TENSORS, "sketch": LINEAGE}


@pytest.mark.parametrize("step", STEPS)
def test_refusals_for_good(seeded, vector, step: str) -> None:
    for code, said in REFUSALS.items():
        seeded.inject(Fault("status", path=STEPS[step], code=code, times=None))
        refused(seeded, vector, said, f"{step}-{code}")


@pytest.mark.parametrize(
    ("path", "code", "error_code", "said"),
    [
        (LOOK, 404, "RepoNotFound", "no such repository"),
        (LOOK, 404, "RevisionNotFound", "no such revision"),
        (LOOK, 403, "GatedRepo", "access must be granted first"),
        (LIST, 404, "EntryNotFound", "missing"),
        (CONFIG, 404, "EntryNotFound", "missing"),
        (CONFIG, 401, "RepoNotFound", "log in with"),
        (TENSORS, 404, None, "HTTP 404"),
    ],
)
def test_refusals_that_name_a_reason(seeded, vector, path: str, code: int, error_code: str | None, said: str) -> None:
    seeded.inject(Fault("status", path=path, code=code, error_code=error_code, times=None))
    refused(seeded, vector, said)


def test_a_disabled_repository(seeded, vector) -> None:
    said = {"X-Error-Message": "Access to this resource is disabled."}
    seeded.inject(Fault("status", path=LOOK, code=403, headers=said, times=None))
    refused(seeded, vector, "disabled by the Hub")


@pytest.mark.parametrize("step", STEPS)
def test_silence_and_broken_connections_for_good(seeded, vector, step: str) -> None:
    for kind in ("hang", "cut"):
        seeded.inject(Fault(kind, path=STEPS[step], seconds=20, times=None))
        refused(seeded, vector, "the connection to http.* failed or broke", kind, seconds=0.08)


def positions(size: int) -> list[int]:
    return [0, 1, size - 1, *random.Random(5).sample(range(2, size - 1), 3)]


def test_cut_anywhere_and_resumed(seeded, vector, vector_files, asked) -> None:
    """The client goes on where a connection broke; what it puts together is whole."""
    for name, path in [("qvec_config.json", CONFIG), ("qvec.safetensors", TENSORS)]:
        for i, at in enumerate(positions(len(vector_files[name]))):
            cache = Path(constants.HF_HUB_CACHE) / f"{name}-{i}"
            seeded.inject(Fault("cut", "GET", path, at=at))
            assert same(load(REPO, cache_dir=cache), vector)
            assert list(cache.rglob("*.incomplete")) == []
            seeded.clear_faults()


@pytest.mark.parametrize("kind", ["truncate", "flip"])
@pytest.mark.parametrize("name", ["qvec_config.json", "qvec.safetensors", "lineage.safetensors"])
def test_what_arrives_broken_is_not_kept(seeded, vector, vector_files, name: str, kind: str) -> None:
    path = CONFIG if name == "qvec_config.json" else f"/(cdn|resolve)/?.*/{name}"
    for at in positions(len(vector_files[name]))[1:4]:
        cache = Path(constants.HF_HUB_CACHE) / str(at)
        seeded.inject(Fault(kind, path=path, at=at, times=None))
        with pytest.raises(qv.HubError, match=rf"{name}.*(corrupted.*not kept; load again|should be of size)"):
            load(REPO, cache_dir=cache)
        seeded.clear_faults()
        assert same(load(REPO, cache_dir=cache), vector)


@pytest.mark.parametrize("path", [CONFIG, "resolve/.*/qvec.safetensors"], ids=["config", "data"])
def test_a_wrong_etag(seeded, vector, path: str) -> None:
    seeded.inject(Fault("wrong_etag", path=path, times=None))
    refused(seeded, vector, "corrupted: the Hub announced the hash 000000000000….*not kept; load again")


def test_what_is_cached_bridges_a_failure(seeded, vector) -> None:
    load(REPO)
    seeded.clear_requests()
    for fault in ("status", "cut", "hang"):
        seeded.inject(Fault(fault, code=503, seconds=20))
        with patience(1.0):
            assert same(load(REPO), vector)
        seeded.clear_faults()
    assert len(seeded.requests) == 3  # no file was asked for


def test_a_slow_hub_is_waited_for(seeded, vector, vector_files) -> None:
    seeded.inject(Fault("slow", path=TENSORS, rate=2 * len(vector_files["qvec.safetensors"])))
    assert same(load(REPO), vector)


NONSENSE = [
    b"<html><body>Sign in to the network</body></html>",
    b"{}",
    b"[]",
    b"null",
    b'{"sha": 1}',
    b"[{}]",
    b"\xff\xfe",
]


@pytest.mark.parametrize("step", ["look", "list"])
def test_nonsense_with_status_200(seeded, vector, nonsense, step: str) -> None:
    for i, body in enumerate(NONSENSE):
        cache = Path(constants.HF_HUB_CACHE) / str(i)
        nonsense(STEPS[step], body)
        with pytest.raises(qv.HubError, match=f"^{REPO}") as caught:
            load(REPO, cache_dir=cache)
        nonsense()
        if "no files at all" in str(caught.value):  # the client remembers an empty listing
            assert "remove it with `hf cache rm model/alice/toys-qvec" in str(caught.value)
        else:
            assert same(load(REPO, cache_dir=cache), vector)
