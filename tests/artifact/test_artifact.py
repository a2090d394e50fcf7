"""The config of format 1: read strictly, refused by name."""

import json
from pathlib import Path

import pytest

import qvec_hub as qv
from qvec_hub.artifact.config import CONFIG_FILE, VectorConfig

KEYS = [
    "format_version", "qvec_hub_version", "model_type", "architecture", "base_model", "donor", "recipe", "grid",
    "scale", "encoding", "tensors", "sources",
]  # fmt: skip


@pytest.fixture
def values(vector_folder: Path) -> dict:
    return json.loads((vector_folder / CONFIG_FILE).read_text())


def test_the_written_config_has_the_keys_of_the_format(values: dict) -> None:
    assert list(values) == KEYS
    assert values["architecture"] == {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 56,
        "image_size": 16, "patch_size": 4, "num_channels": 3,
    }  # fmt: skip
    assert values["donor"]["task"] == "toys"
    assert values["grid"] == {
        "bits": 3,
        "granularity": "channel",
        "range": "absmax",
        "symmetric": True,
        "group_size": None,
    }
    assert values["encoding"] == {"name": "float32"}
    assert set(values["tensors"]) == {"count", "parameters", "norm", "sha256"}


def test_reading_and_writing_again_changes_nothing(vector_folder: Path) -> None:
    text = (vector_folder / CONFIG_FILE).read_text()
    assert VectorConfig.read(vector_folder / CONFIG_FILE).to_json() == text


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named(values: dict, key: str) -> None:
    del values[key]
    with pytest.raises(qv.ArtifactError, match=key):
        VectorConfig.from_dict(values)


@pytest.mark.parametrize(
    ("path", "wrong", "name"),
    [
        ("model_type", 3, "model_type"),
        ("scale", "1", "scale"),
        ("scale", True, "scale"),
        ("scale", float("nan"), "scale"),
        ("architecture", [], "architecture"),
        ("grid", "int3", "grid"),
        ("grid.bits", 11, "bits"),
        ("grid.range", "best", "range"),
        ("donor", None, "donor"),
        ("donor.task", 5, "donor.task"),
        ("tensors", None, "tensors"),
        ("tensors.count", 1.5, "tensors.count"),
        ("tensors.count", -1, "tensors.count"),
        ("tensors.sha256", None, "tensors.sha256"),
        ("base_model.repo_id", {}, "base_model.repo_id"),
        ("sources", {}, "sources"),
        ("sources", [{"repo_id": "a/b"}], r"sources\[0\].revision"),
        ("format_version", "1", "format_version"),
        ("format_version", 0, "format_version"),
    ],
)
def test_a_mistyped_key_is_named(values: dict, path: str, wrong: object, name: str) -> None:
    *parents, last = path.split(".")
    target = values
    for parent in parents:
        target = target[parent]
    target[last] = wrong
    with pytest.raises(qv.QVecError, match=name):
        VectorConfig.from_dict(values)


def test_a_newer_format_is_refused_by_number(values: dict) -> None:
    values["format_version"] = 2
    del values["grid"]
    with pytest.raises(qv.ArtifactError, match="format_version 2 is newer"):
        VectorConfig.from_dict(values)


def test_an_unknown_key_only_warns(values: dict) -> None:
    values["colour"] = "blue"
    with pytest.warns(UserWarning, match="colour"):
        VectorConfig.from_dict(values)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"x"', "\x00\xff", "[" * 100_000])
def test_what_is_no_config_at_all(vector_folder: Path, text: str) -> None:
    (vector_folder / CONFIG_FILE).write_text(text)
    with pytest.raises(qv.ArtifactError, match=CONFIG_FILE):
        qv.QuantizationVector.from_pretrained(vector_folder)
