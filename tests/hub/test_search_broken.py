"""Repositories that are broken, hostile, or gone when they are opened: listed with the reason, and never fatal."""

import json

import pytest

import qvec_hub as qv
from qvec_hub.hub_search.fetch import BATCH
from qvec_hub.hub_search.search import ROUNDS, VERIFIED
from tests.hub_server import Fault

from .library import BASE
from .test_search import names

CONFIG = "qvec_config.json"
ESCAPE = "\x1b]0;owned\x07\x1b[31m"


def config_with(library, **changes) -> bytes:
    config = json.loads(library.files[CONFIG])
    config["base_model"]["repo_id"] = BASE
    return json.dumps({**config, **changes}).encode()


def card_with(**values) -> bytes:
    front = {"tags": ["quantization-vector", "int3-channel-absmax"], "base_model": BASE, **values}
    return f"---\n{json.dumps(front)}\n---\n".encode()  # JSON is YAML


BROKEN_CONFIGS = {
    "garbage": (lambda library: b"\x00\xff{", "not readable as JSON"),
    "a list": (lambda library: b"[]", "expected a JSON object, found list"),
    "empty": (lambda library: b"", "is empty"),
    "newer": (lambda library: config_with(library, format_version=2), "format_version 2 is newer than 1"),
    "a key missing": (lambda library: b'{"format_version": 1}', "missing qvec_hub_version"),
    "no such grid": (lambda library: config_with(library, grid={**qv.Grid(3).to_dict(), "bits": 99}), "bits must be"),
    "escapes": (lambda library: config_with(library, model_type=ESCAPE), "control characters"),
    "two keys": (lambda library: b'{"format_version": 1, "format_version": 1}', "stands there twice"),
    "deep": (lambda library: b"[" * 50_000, "not readable as JSON"),
    "huge": (lambda library: config_with(library, recipe={"text": "x" * 10_000_000}), "expected at most 1,048,576"),
    "none": (lambda library: None, f"holds no {CONFIG}"),
}


@pytest.mark.parametrize("card", [b"", card_with()], ids=["told by its card", "silent card"])
@pytest.mark.parametrize("name", BROKEN_CONFIGS)
def test_a_broken_config(library, name: str, card: bytes) -> None:
    make, reason = BROKEN_CONFIGS[name]
    library.put("a/broken", gains=[0.4], card=card, files={CONFIG: make(library)})
    library.put("a/good", gains=[0.1])
    found = qv.search(base_model=BASE)
    assert names(found) == ["a/good"]
    assert [vector.name for vector in found.broken] == ["a/broken"]
    assert reason in found.broken[0].broken
    assert str(library.hub.url) not in found.broken[0].broken
    assert not found.broken[0].unreachable
    assert found.broken[0].broken.isprintable()
    if name in ("huge", "none"):
        assert library.opened() == ["a/good"]  # looked at, and not fetched


def test_tensors_that_never_arrived(library) -> None:
    library.put("a/unfinished", files={"qvec.safetensors": None})
    found = qv.search()
    assert names(found) == []
    assert "upload was never finished" in found.broken[0].broken
    assert library.opened() == []


def test_a_card_that_is_not_what_the_config_says(library) -> None:
    library.put("a/other-base", files={CONFIG: library.made("a/x", "org/else", (), "toys", "int3")[CONFIG]})
    library.put("a/other-grid", files={CONFIG: library.made("a/x", BASE, (), "toys", "int4")[CONFIG]})
    reasons = {vector.name: vector.broken for vector in qv.search(base_model=BASE).broken}
    assert reasons == {
        "a/other-base": f"its card says base {BASE}, its {CONFIG} org/else",
        "a/other-grid": f"its card says grid int3-channel-absmax, its {CONFIG} int4-channel-absmax",
    }


def block(**changes) -> dict[str, object]:
    values = {"task": "toys", "grid": "int3-channel-absmax", "scale": 1.0, "parameters": 5, "bytes": 5}
    return {"quantization_vector": {**values, **changes}}


@pytest.mark.parametrize(
    "card",
    [
        {"quantization_vector": [1, 2]},
        {"quantization_vector": "text"},
        block(task=5),
        block(task=ESCAPE),
        block(task="x" * 10_000_000),
        block(grid=["int3"]),
        block(grid="int3" * 1000),
        block(scale="1"),
        block(scale=True),
        block(parameters=-1),
        block(parameters=1e300),
        block(bytes={}),
        {**block(), "base_model": 5},
        {**block(), "base_model": {"org": "base"}},
        {**block(), "base_model": [None, ESCAPE]},
        {"tags": "quantization-vector", "datasets": {"a": 1}, "license": [3], "model-index": "none"},
        {"quantization_vector_results": "none"},
        {"quantization_vector_results": {"columns": ["receiver", "dataset"], "pairs": [None, 3, ["x"]]}},
        {"model-index": [{"results": [{"dataset": 3, "metrics": [None, {"args": []}, {"args": {"n": "x"}}]}, 4]}, 1]},
        {"datasets": [ESCAPE], "license": ESCAPE},
    ],
    ids=lambda card: str(card)[:60].encode("unicode_escape").decode(),
)
def test_a_card_of_other_types_is_not_believed_but_the_config_is(library, card) -> None:
    library.put("a/odd", card=card_with(**card))
    found = qv.search(base_model=BASE)
    assert names(found) == ["a/odd"]
    assert (found[0].task, found[0].grid, found[0].base_model) == ("toys", "int3-channel-absmax", BASE)
    assert found[0].evidence is None
    assert json.dumps(found.to_dict()).isprintable()
    assert "x" * 1000 not in json.dumps(found.to_dict())
    assert library.opened() == ["a/odd"]


def test_a_card_that_is_no_yaml_hides_a_vector_and_does_no_harm(library) -> None:
    # The Hub reads no tags from it, so no listing can show the repository.
    library.put("a/lost", card=b"---\ntags: [quantization-vector\nx: {\n---\n")
    library.put("a/good")
    assert names(qv.search()) == ["a/good"]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "code": 404, "error_code": "RepoNotFound"},
        {"kind": "status", "code": 404, "error_code": "EntryNotFound"},
        {"kind": "status", "code": 401},
        {"kind": "status", "code": 403},
        {"kind": "status", "code": 500},
        {"kind": "status", "code": 429},
        {"kind": "cut", "at": 10, "method": "GET"},
    ],
    ids=lambda fault: " ".join(str(value) for value in fault.values()),
)
def test_repositories_that_are_gone_or_closed_when_they_are_opened(library, fault) -> None:
    library.put("a/gone", gains=[0.4])
    library.put("a/good")
    library.hub.inject(Fault(path="^/a/gone/resolve/", times=None, **fault))
    found = qv.search(base_model=BASE)
    assert names(found) == ["a/good"]
    assert [(vector.name, vector.unreachable) for vector in found.broken] == [("a/gone", True)]
    assert f"{CONFIG}: could not be fetched" in found.broken[0].broken


def test_what_is_shown_was_opened_also_when_the_best_are_broken(library) -> None:
    for i in range(VERIFIED + 3):
        library.put(f"a/broken{i}", gains=[0.4], files={CONFIG: b"{"})
    for i in range(VERIFIED + 5):
        library.put(f"a/good{i}", gains=[0.1])
    found = qv.search(base_model=BASE, limit=VERIFIED)
    assert len(found) == VERIFIED
    assert all(vector.verified for vector in found)
    assert (found.total, len(found.broken)) == (VERIFIED + 5, VERIFIED + 3)
    assert len(library.opened()) < ROUNDS * VERIFIED


def test_a_hub_that_gives_no_config_is_not_asked_for_all(library) -> None:
    for i in range(3 * BATCH):
        library.put(f"a/silent{i}", card=card_with(base_model=None))
    library.hub.inject(Fault("status", path="/resolve/", code=403, times=None))
    found = qv.search()
    assert names(found) == []
    assert len(found.broken) == 3 * BATCH
    assert len({each.path for each in library.hub.requests if "/resolve/" in each.path}) == BATCH


def test_broken_ones_of_another_kind_are_not_listed(library) -> None:
    library.put("a/elsewhere", "org/elsewhere", files={"qvec.safetensors": None})
    library.put("a/two-bits", grid="int2", files={"qvec.safetensors": None})
    library.put("a/unknown", files={CONFIG: None}, card=b"---\ntags: [quantization-vector]\n---\n")
    assert [vector.name for vector in qv.search(base_model=BASE, bits=3).broken] == ["a/unknown"]
