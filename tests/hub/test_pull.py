"""Fetching a vector: whom the Hub lets in, offline, what is never fetched, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

import qvec_hub as qv

from .conftest import same

REPO = "alice/toys-qvec"
load = qv.QuantizationVector.from_pretrained


def cached(cache: str | Path) -> set[str]:
    """Paths of all files in a cache."""
    return {str(path.relative_to(cache)) for path in Path(cache).rglob("*") if not path.is_dir()}


def test_only_what_a_vector_needs_is_fetched(hub, vector, vector_files, asked) -> None:
    evil = dict.fromkeys(["evil.pkl", "pytorch_model.bin", "qvec.bin", "model.safetensors", "modeling.py"], b"evil")
    evil |= {"sub/qvec.safetensors": b"other", "qvec-00001-of-00002.safetensors": b"x"}
    hub.seed(REPO, {**vector_files, **evil})
    assert same(load(REPO), vector)
    got = {path.split("/")[-1].split("?")[0] for path in asked("GET", "/resolve/") + asked("GET", "/cdn/")}
    assert got == {"qvec_config.json", "qvec.safetensors", "lineage.safetensors"}
    hub.clear_requests()
    assert same(load(REPO), vector)
    assert len(hub.requests) == 1  # which commit is it now?


def test_private_and_gated(hub, vector_files, vector) -> None:
    hub.seed("alice/private", vector_files, private=True)
    hub.seed("alice/gated", vector_files, gated="auto")
    assert same(load("alice/private", token="hf_alice"), vector)
    for repo, token, said in [
        ("alice/private", "hf_bob", "no such repository .* or a private one your token may not see.*hf auth login"),
        ("alice/private", False, "no such repository .* log in with `hf auth login` or pass a token"),
        ("alice/private", "hf_expired", "does not accept your token; log in again with `hf auth login`"),
        ("alice/gated", "hf_bob", "access must be granted first; ask for it on the repository's page"),
        ("alice/gated", False, "access must be granted first.*log in with `hf auth login`"),
        ("alice/none", None, "no such repository"),
    ]:
        with pytest.raises(qv.HubError, match=f"^{repo}: .*{said}") as caught:
            load(repo, token=token, cache_dir=Path(constants.HF_HUB_CACHE) / "empty")
        assert "hf_" not in str(caught.value).replace("hf_hub", "")


def test_no_token_at_all(hub, vector_files, monkeypatch) -> None:
    hub.seed("alice/private", vector_files, private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(qv.HubError, match="log in with `hf auth login`"):
        load("alice/private")
    with pytest.raises(qv.HubError, match="no token was found; log in with `hf auth login` or pass one"):
        load("alice/private", token=True)


def test_every_spelling_of_a_revision(hub, vector, asked) -> None:
    first = vector.push_to_hub(REPO)
    second = (2 * vector).push_to_hub(REPO)
    hub.tag(REPO, "v1", first.oid)
    (3 * vector).push_to_hub(REPO, revision="dev")
    for revision, oid in [(first.oid, first.oid), ("v1", first.oid), ("main", second.oid), (first.oid[:8], first.oid)]:
        for found in (load(f"{REPO}@{revision}"), load(REPO, revision=revision), load(f"hf://{REPO}@{revision}")):
            assert found.origin.revision == oid
            assert same(found, vector if oid == first.oid else 2 * vector)
    assert same(load(f"{REPO}@dev"), 3 * vector)
    with pytest.raises(qv.HubError, match=f"{REPO}@v9: .*has no such revision; name one of its branches, tags"):
        load(f"{REPO}@v9")
    for source, options, said in [
        (f"{REPO}@v1", {"revision": "dev"}, "names revision 'v1', but revision='dev' was asked for"),
        (f"{REPO}@", {}, "names no revision"),
        (f"{REPO}@../../x", {}, "expected a commit, branch or tag"),
        (f"hf://{REPO}/../x", {}, "not a place in the Hub|relative path"),
        (REPO, {"subfolder": "../x"}, "relative path"),
        (f"hf://datasets/{REPO}", {}, "is a dataset"),
        (f"hf://{REPO}/a", {"subfolder": "b"}, "names subfolder 'a', but"),
    ]:
        with pytest.raises(qv.ArtifactError, match=said):
            load(source, **options)


def test_no_vector_or_half_of_one(hub, vector_files) -> None:
    hub.seed("alice/m", {"config.json": b"{}", "model.safetensors": b"float"})
    with pytest.raises(qv.ArtifactError, match=r"alice/m: holds no qvec_config.json, so it is not a quantization"):
        load("alice/m")
    half = {name: data for name, data in vector_files.items() if name != "qvec.safetensors"}
    hub.seed("alice/half", half)
    for _ in range(2):
        with pytest.raises(qv.ArtifactError, match=r"alice/half: holds qvec_config.json but no tensors, so its upload"):
            load("alice/half")
    with pytest.raises(qv.ArtifactError, match="no such folder"):
        load("a/b/c")


@pytest.mark.parametrize("name", ["qvec.safetensors", "qvec_config.json", "lineage.safetensors", "more"])
def test_files_too_large_are_not_fetched(hub, vector_files, asked, monkeypatch, name: str) -> None:
    limits = {"qvec_config.json": 4000, "qvec.safetensors.index.json": 4000, "lineage.safetensors": 20_000}
    monkeypatch.setattr("qvec_hub.hub.transfer.download._LIMITS", limits)
    large = bytes(3 << 20)
    if name == "more":  # many small ones are no vector either
        large, files = b"x", {f"qvec-{i:05d}-of-00050.safetensors": b"x" for i in range(1, 51)}
        hub.seed(REPO, {**vector_files, **files, "qvec.safetensors.index.json": b"{}"})
    else:
        hub.seed(REPO, {**vector_files, name: large})
    with pytest.raises(qv.ArtifactError, match=rf"{REPO}: .* bytes.*at most .* not fetched; tell the owner"):
        load(REPO)
    assert not asked("GET", f"/{name}") + asked("GET", "/cdn/")


def test_hostile_names_stay_names(hub, vector, vector_files, tmp_path) -> None:
    names = [
        "../../evil",
        "/tmp/evil",
        "../qvec.safetensors",
        "qvec/../x.safetensors",
        "..\\evil",
        "a\\qvec.safetensors",
    ]
    hub.seed(REPO, {**dict.fromkeys(names, b"evil"), **vector_files}, raw_names=True)
    before = {path for path in tmp_path.rglob("*") if "hub-cache" not in path.parts}
    assert same(load(REPO), vector)
    assert {path for path in tmp_path.rglob("*") if "hub-cache" not in path.parts} - before <= {tmp_path / "hub-cache"}
    assert not [path for path in cached(constants.HF_HUB_CACHE) if "evil" in path]
    for subfolder in ("..", "qvec/..", "a\\"):
        with pytest.raises(qv.ArtifactError, match="relative path"):
            load(REPO, subfolder=subfolder)


def test_offline_from_the_cache(hub, vector, asked, monkeypatch, tmp_path) -> None:
    done = vector.push_to_hub(REPO)
    for offline in ({"local_files_only": True}, {}):
        with monkeypatch.context() as patch:
            patch.setattr(constants, "HF_HUB_OFFLINE", not offline)
            with pytest.raises(qv.HubError, match=rf"{REPO}.*not asked.*go online once \(HF_HUB_OFFLINE=0"):
                load(REPO, **offline)
    load(REPO)
    hub.clear_requests()
    assert load(REPO, local_files_only=True).origin.revision == done.oid
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for source in (REPO, f"{REPO}@{done.oid}"):
        assert same(load(source), vector)
    with pytest.raises(qv.HubError, match="go online once"):
        load(f"{REPO}@v1")
    with pytest.raises(qv.HubError, match=rf"^{REPO}: .*nothing was uploaded"):
        vector.push_to_hub(REPO)
    assert hub.requests == []


def test_half_a_cache_is_not_a_vector_offline(hub, vector, vector_files) -> None:
    """A download that was killed leaves files without the others; a missing sketch would pass unseen."""
    hub.seed(REPO, vector_files)
    load(REPO)
    cache = Path(constants.HF_HUB_CACHE)
    for name in ("lineage.safetensors", "qvec.safetensors", "qvec_config.json"):
        (link,) = cache.rglob(f"snapshots/*/{name}")
        link.unlink()
        with pytest.raises(qv.HubError, match="go online once"):
            load(REPO, local_files_only=True)
        assert set(load(REPO).lineage) == set(vector.lineage)
        assert load(REPO, local_files_only=True).lineage


PROGRAM = """
import hashlib, os, sys
import qvec_hub as qv

def load():
    vector = qv.QuantizationVector.from_pretrained("alice/toys-qvec")
    digest = hashlib.sha256()
    for name in sorted(vector):
        digest.update(vector[name].numpy().tobytes())
    os.write(1, f"{digest.hexdigest() == vector.config.tensors.sha256} {len(vector.lineage)}\\n".encode())

sys.stdin.readline()
children = []
for _ in range(int(sys.argv[1])):
    children.append(os.fork())
    if not children[-1]:
        load()
        os._exit(0)
for child in children:
    os.waitpid(child, 0)
if not children:
    load()
"""


def start(children: int, **environment: str) -> subprocess.Popen:
    everything = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", **environment}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(children)], env=everything, text=True, **pipes)


def test_several_processes_on_one_empty_cache_and_one_offline(hub, vector) -> None:
    vector.push_to_hub(REPO)
    four, offline = start(4, HF_HUB_OFFLINE="0"), start(0, HF_HUB_OFFLINE="1")
    expected = ["True", str(len(vector.lineage))]
    out, error = four.communicate("go\n", timeout=240)
    assert out.split() == expected * 4, error
    assert not [path for path in cached(constants.HF_HUB_CACHE) if path.endswith(".incomplete")]
    assert same(load(REPO), vector)
    hub.stop()
    out, error = offline.communicate("go\n", timeout=240)
    assert out.split() == expected, error


def test_a_vector_without_a_sketch(hub, vector, vector_files) -> None:
    hub.seed(REPO, {name: data for name, data in vector_files.items() if name != "lineage.safetensors"})
    assert load(REPO).lineage is None
    assert json.loads(vector_files["qvec_config.json"])["tensors"]["count"] == len(vector)
    assert torch.equal(load(REPO)[vector.names()[0]], vector[vector.names()[0]])
