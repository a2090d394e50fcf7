"""Thousands of hostile artifacts: each is read well or refused with a reason, whatever was done to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import qvec_hub as qv
from qvec_hub.artifact import config as artifact

from . import (  # noqa: F401  # importing a module registers its mutators  # noqa: F401
    artifacts,
    byte_mutators,
    config_mutators,
    file_mutators,
    harness,
    lineage_mutators,
    tensor_mutators,
    text_mutators,
)
from .artifacts import Files
from .mutators import EITHER, LOADED, MUTATORS, REFUSED

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="mutations are read in a forked child")
SHARD_BYTES = 20_000
# name -> (merged of two, with a lineage sketch, in shards); more than 1000 mutations each, so 5000 in all
KINDS = {
    "plain": (False, True, False),
    "without a sketch": (False, False, False),
    "in shards": (False, True, True),
    "merged": (True, True, False),
    "merged, in shards, without a sketch": (True, False, True),
}


def make(kind: str, vector: qv.QuantizationVector, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    merged, sketched, sharded = KINDS[kind]
    made = qv.QuantizationVector(vector.config, {n: vector[n] for n in vector}, vector.lineage if sketched else None)
    if merged:
        made = qv.merge([made, 3 * made])
    if sharded:
        monkeypatch.setattr(artifact, "MAX_SHARD_BYTES", SHARD_BYTES)
    made.save_pretrained(folder)
    return artifacts.read(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_every_mutation_is_read_well_or_refused(kind: str, vector, tmp_path: Path, monkeypatch) -> None:
    original = make(kind, vector, tmp_path / "original", monkeypatch)
    (tmp_path / "work").mkdir()
    report = harness.run(original, kind, tmp_path / "work")
    assert list(harness.wrong(report)) == [], "\n".join(harness.wrong(report))
    assert report.keys() == {mutator.name for mutator in harness.applicable(original)}
    for name, counts in report.items():
        times, verdict = MUTATORS[name].times, MUTATORS[name].verdict
        assert counts[REFUSED] + counts[LOADED] == times
        assert counts[REFUSED if verdict == EITHER else verdict] > 0, f"{name} was never {verdict}"
    assert sum(MUTATORS[name].times for name in report) > 1000


@pytest.mark.parametrize("encoding", ["int2", "bf16"])
def test_mutations_of_a_small_encoding(encoding: str, vector, tmp_path: Path, monkeypatch) -> None:
    """All but those that make the config agree again, which is done for float32 only, or take an optional key."""
    vector.save_pretrained(tmp_path / "original", encoding=encoding)
    plain = {n: m for n, m in MUTATORS.items() if "seal" not in m.change.__code__.co_names and n != "delete_a_key"}
    monkeypatch.setattr(harness, "MUTATORS", plain)
    (tmp_path / "work").mkdir()
    report = harness.run(artifacts.read(tmp_path / "original"), encoding, tmp_path / "work")
    assert list(harness.wrong(report)) == [], "\n".join(harness.wrong(report))
    assert sum(MUTATORS[name].times for name in report) > 900


def test_every_mutation_applies_to_some_artifact(vector, tmp_path: Path, monkeypatch) -> None:
    kinds = [make(kind, vector, tmp_path / kind, monkeypatch) for kind in KINDS]
    assert {mutator.name for files in kinds for mutator in harness.applicable(files)} == set(MUTATORS)


def test_a_mutation_with_a_wrong_verdict_is_noticed(vector, tmp_path: Path, monkeypatch) -> None:
    """The harness itself: an artifact that should be refused but loads, and a loader that fails in its own way."""
    original = make("plain", vector, tmp_path / "original", monkeypatch)
    harmless = MUTATORS["keys_in_another_order"]
    monkeypatch.setattr(harness, "MUTATORS", {"harmless": harmless._replace(name="harmless", verdict=REFUSED)})
    (tmp_path / "one").mkdir()
    assert "was loaded" in next(harness.wrong(harness.run(original, "one", tmp_path / "one")))
    monkeypatch.setattr(qv.QuantizationVector, "from_pretrained", lambda folder: {}[folder])
    (tmp_path / "two").mkdir()
    assert "KeyError" in next(harness.wrong(harness.run(original, "two", tmp_path / "two")))
