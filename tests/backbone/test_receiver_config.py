"""Receivers whose config.json or weights are odd: one QVecError that names the receiver, in every entry point."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageClassification

import qvec_hub as qv
from qvec_hub.hub_search.declared_base import DeclaredBase
from qvec_hub.training.start import starting_model
from qvec_hub.util.foreign import foreign_errors

NAN, INFINITE = float("nan"), float("inf")
VALUES = [
    {"hidden_act": "gelu_foo"},
    {"hidden_act": None},
    {"hidden_act": 5},
    {"patch_size": 0},
    {"patch_size": -4},
    {"patch_size": "4"},
    {"patch_size": None},
    {"patch_size": 64},
    {"patch_size": 2.5},
    {"num_attention_heads": 0},
    {"num_attention_heads": 3},
    {"num_attention_heads": "2"},
    {"num_attention_heads": True},
    {"hidden_size": NAN},
    {"hidden_size": INFINITE},
    {"hidden_size": 10**30},
    {"hidden_size": 1 << 17},
    {"hidden_size": 0},
    {"hidden_size": []},
    {"intermediate_size": 1 << 20, "hidden_size": 1 << 16},
    {"num_hidden_layers": 10**9},
    {"num_hidden_layers": -1},
    {"num_hidden_layers": 3},
    {"image_size": 10**9},
    {"image_size": None},
    {"image_size": "224"},
    {"image_size": {"height": 16}},
    {"num_channels": 0},
    {"layer_norm_eps": "tiny"},
    {"initializer_range": None},
    {"hidden_dropout_prob": 7},
    {"qkv_bias": "maybe"},
    {"num_labels": 10**10},
    {"id2label": [1, 2]},
    {"id2label": {"a": "b"}},
    {"id2label": "x"},
    {"id2label": {"0": "one"}},
    {"model_type": "foo"},
    {"model_type": None},
    {"model_type": ["vit"]},
    {"model_type": "bert"},
    {"dtype": "int3"},
    {"dtype": 5},
    {"auto_map": 5},
    {"quantization_config": 5},
    {"quantization_config": {}},
    {"quantization_config": {"quant_method": "qvec", "grid": 7}},
    {"quantization_config": {"quant_method": "awq"}},
    {"transformers_weights": "../pytorch_model.bin"},
    {"attn_implementation": "nonsense"},
]
TEXTS = ["", " ", "not json", "[]", "5", "null", "{" * 100_000, '{"model_type": "vit"', "\ufeff{}", "\0"]


@pytest.fixture
def odd(receiver_folder: Path, tmp_path: Path):
    """Makes a copy of the receiver, with values of its config changed or another text in the place of it."""

    def make(change: dict | str) -> Path:
        folder = tmp_path / "odd"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(receiver_folder, folder)
        config = json.loads((folder / "config.json").read_text())
        text = change if isinstance(change, str) else json.dumps({**config, **change})
        (folder / "config.json").write_text(text)
        return folder

    return make


@pytest.mark.parametrize("change", [*VALUES, *TEXTS], ids=lambda change: str(change)[:40])
@pytest.mark.parametrize("weights", [None, "int3"])
def test_values_that_cannot_be(change: dict | str, weights: str | None, odd) -> None:
    folder = odd(change)
    with pytest.raises(qv.QVecError, match=r"odd|backbone weights are not in the receiver's checkpoint") as caught:
        qv.from_pretrained(folder, weights=weights)
    assert "\n" not in str(caught.value)


ENTRIES = {
    "finetuned": lambda folder, qvec: qv.QuantizationVector.extract(folder, folder),
    "evaluate": lambda folder, qvec: qv.evaluate(str(folder), "nowhere"),
    "train": lambda folder, qvec: starting_model(folder, ["a", "b"], 0),
    "search": lambda folder, qvec: DeclaredBase(folder, None).load(),
}
COMMANDS = {
    "apply": ["apply", "odd", "--out", "out"],
    "eval": ["eval", "odd", "nowhere"],
    "extract": ["extract", "odd", "odd", "--out", "out"],
}
SOME = [{"hidden_act": "gelu_foo"}, {"patch_size": 0}, {"hidden_size": 1 << 17}, {"id2label": "x"}, "not json"]


@pytest.mark.parametrize("change", SOME, ids=lambda change: str(change)[:20])
def test_in_every_entry_point(change: dict | str, odd, qvec) -> None:
    folder = odd(change)
    for entry in ENTRIES.values():
        with pytest.raises(qv.QVecError, match="odd"):
            entry(folder, qvec)
    for command in COMMANDS.values():
        done = qvec(*command)
        assert done.returncode == 1
        assert "odd" in done.stderr
        assert "Traceback" not in done.stderr
    assert not Path("out").exists()


WEIGHTS = {
    "missing": (lambda path: path.unlink(), "model.safetensors is missing or unreadable"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:1000]), "missing or unreadable"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_text("hello, world"), "missing or unreadable"),
    "pickle": (lambda path: torch.save({"a": torch.zeros(2)}, path), "missing or unreadable"),
    "bin": (lambda path: path.rename(path.parent / "pytorch_model.bin"), "found pytorch_model.bin instead"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "is a folder, expected a regular file"),
    "pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "is a pipe, socket or device"),
    "dangling": (lambda path: (path.unlink(), path.symlink_to("nowhere")), "cannot be read"),
    "adapter": (lambda path: (path.parent / "adapter_config.json").write_text("{}"), "holds an adapter.*merge"),
    "index": (
        lambda path: (path.unlink(), (path.parent / "model.safetensors.index.json").write_text("[]")),
        "not an index of safetensors files",
    ),
    "shard outside": (
        lambda path: (
            path.rename(path.parent.parent / "model.safetensors"),
            (path.parent / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../model.safetensors"}}'),
        ),
        "not an index of safetensors files",
    ),
    "shard missing": (
        lambda path: (
            path.unlink(),
            (path.parent / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}'),
        ),
        "model-1.safetensors is missing, but the checkpoint's index names it",
    ),
}


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("weights", [None, "int3"])
def test_weights_that_cannot_be_read(kind: str, weights: str | None, odd) -> None:
    folder = odd({})
    spoil, said = WEIGHTS[kind]
    spoil(folder / "model.safetensors")
    with pytest.raises(qv.ArtifactError, match=f"odd.*{said}"):
        qv.from_pretrained(folder, weights=weights)


def test_code_of_a_repository_is_never_run(odd) -> None:
    folder = odd({"auto_map": {"AutoConfig": "evil.Config", "AutoModelForImageClassification": "evil.Model"}})
    (folder / "evil.py").write_text("from pathlib import Path\nPath('ran').touch()\nraise SystemExit('ran')\n")
    assert qv.from_pretrained(folder, weights="int3", rounding="nearest").num_labels == 5
    odd({"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}})
    with pytest.raises(qv.ArtifactError, match=r"odd.*no transformers model config could be read"):
        qv.from_pretrained(folder)
    assert not Path("ran").exists()


def test_our_errors_come_out_of_transformers_as_themselves(receiver_folder: Path, vector, tmp_path: Path) -> None:
    for config, said in [
        (qv.QVecConfig(tmp_path / "nowhere", "int3"), "no such folder"),
        (qv.QVecConfig("nobody/nothing", "int3"), "the Hub was not asked"),
        (qv.QVecConfig(vector, "int3", rounding="up"), "rounding"),
    ]:
        with pytest.raises(qv.QVecError, match=said):
            AutoModelForImageClassification.from_pretrained(receiver_folder, quantization_config=config)


def test_memory_and_the_keyboard_are_not_bad_input() -> None:
    for error in (MemoryError(), KeyboardInterrupt(), SystemExit(3), qv.GridError("mine")):
        with pytest.raises(type(error)), foreign_errors(qv.ArtifactError, "thing"):
            raise error
    with pytest.raises(qv.ArtifactError, match=r"^thing \(AssertionError: a b\); do that$"):  # noqa: SIM117
        with foreign_errors(qv.ArtifactError, "thing", "do that"):
            raise AssertionError("a\n\n  b")
