"""Exported models load without this package, and give the same logits."""

import copy
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import ViTConfig, ViTForImageClassification

import qvec_hub as qv
from qvec_hub.interop.export import EXPORTERS, export
from qvec_hub.interop.zero_points import with_integer_zero_points
from qvec_hub.layers.packed_linear import packed_layers

pytest.importorskip("compressed_tensors")
onnxruntime = pytest.importorskip("onnxruntime")

# What somebody without this package runs: format -> code that computes `logits` from `pixels`, in the folder `where`.
LOADERS = """
import json, logging, sys
logging.disable(logging.WARNING)
import torch

def transformers(where, pixels):
    from transformers import AutoModelForImageClassification
    return AutoModelForImageClassification.from_pretrained(where)(pixels).logits

def torch_program(where, pixels):
    return torch.export.load(where + "/model.pt2").module()(pixels)

def onnx(where, pixels):
    import onnxruntime
    session = onnxruntime.InferenceSession(where + "/model.onnx", providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"pixel_values": pixels.numpy()})[0])

loaders = {"float": transformers, "compressed-tensors": transformers, "torch": torch_program, "onnx": onnx}
pixels, found = torch.load("pixels.pt"), {}
with torch.no_grad():
    for where, to, reference in json.load(open("jobs.json")):
        expected = torch.load(reference)
        found[where] = float((loaders[to](where, pixels) - expected).abs().max() / expected.abs().max())
assert "qvec_hub" not in sys.modules
print(json.dumps(found))
"""
HELD = {
    "int3-channel-absmax": ("float", "compressed-tensors", "onnx", "torch"),
    "int2-channel-mse-affine": ("float", "onnx", "torch"),
    "int2-channel-trellis": ("float", "compressed-tensors", "onnx", "torch"),
    "ternary-channel-mse": ("compressed-tensors", "torch"),
    "int4-group16-absmax": ("float", "compressed-tensors", "onnx", "torch"),
    "int8-tensor-absmax": ("float", "compressed-tensors"),
    "int5-channel-mse": ("compressed-tensors",),
}


@pytest.fixture(scope="module")
def receiver():
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=80,
        image_size=16,
        patch_size=4,
        id2label={0: "ant", 1: "bee", 2: "cat"},
        label2id={"ant": 0, "bee": 1, "cat": 2},
    )
    model = ViTForImageClassification(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture
def quantized(receiver, tmp_path):
    receiver.save_pretrained(tmp_path / "receiver")
    return lambda grid: qv.from_pretrained(tmp_path / "receiver", weights=grid, rounding="nearest")


def test_exported_models_give_the_same_logits_without_this_package(receiver, tmp_path):
    pixels = torch.randn(3, 3, 16, 16)
    torch.save(pixels, tmp_path / "pixels.pt")
    receiver.save_pretrained(tmp_path / "receiver")
    jobs = []
    for grid, formats in HELD.items():
        model = qv.from_pretrained(tmp_path / "receiver", weights=grid, rounding="nearest")
        with torch.no_grad():
            torch.save(model(pixels).logits, tmp_path / f"{grid}.pt")
        for to in formats:
            export(model, tmp_path / f"{grid} {to}", to)
            jobs.append((f"{grid} {to}", to, f"{grid}.pt"))
            assert f"`{grid}`" in (tmp_path / f"{grid} {to}" / "README.md").read_text()
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    done = subprocess.run([sys.executable, "-c", LOADERS], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.keys() == {where for where, _, _ in jobs}
    off = {where: by for where, by in found.items() if by > (1e-5 if where.endswith("onnx") else 1e-6)}
    assert not off
    _check_width(tmp_path / "int3-channel-absmax compressed-tensors" / "model.safetensors")
    _check_onnx(tmp_path / "int3-channel-absmax onnx" / "model.onnx")


def _check_width(path):
    """Three bits a weight, whole 32-bit words a row."""
    with safe_open(path, "pt") as file:
        for name in list(file.keys()):
            if name.endswith("weight_packed"):
                rows, columns = file.get_tensor(name.replace("packed", "shape")).tolist()
                assert file.get_tensor(name).numel() * 4 == rows * -(-columns * 3 // 32) * 4


def _check_onnx(path):
    """Labels and image size are kept, and any number of images is taken."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    known = session.get_modelmeta().custom_metadata_map
    assert json.loads(known["labels"]) == {"0": "ant", "1": "bee", "2": "cat"}
    assert known["image_size"] == "16"
    for count in (1, 5):
        assert session.run(None, {"pixel_values": torch.randn(count, 3, 16, 16).numpy()})[0].shape == (count, 3)


@pytest.mark.parametrize(
    ("grid", "to", "message"),
    [
        ("int2-channel-mse-affine", "compressed-tensors", "Export to onnx"),
        ("int8-channel-mse-affine", "onnx", "at 2 and 4 bits alone; export to float"),
        ("int3-group20-absmax", "onnx", "groups of 20 columns"),
        ("int3-group12-absmax", "compressed-tensors", "no multiple of the grid's groups of 12"),
    ],
)
def test_a_format_that_cannot_hold_a_grid_says_so_and_leaves_nothing(quantized, tmp_path, grid, to, message):
    with pytest.raises(qv.QVecError, match=message):
        export(quantized(grid), tmp_path / "out", to)
    assert not (tmp_path / "out").exists()


def test_a_format_needs_a_quantized_model_or_an_empty_folder(receiver, tmp_path):
    with pytest.raises(qv.GridError, match="not quantized"):
        export(receiver, tmp_path / "out", "compressed-tensors")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(qv.ArtifactError, match="is not empty"):
        export(receiver, tmp_path / "full", "float")
    with pytest.raises(qv.QVecError, match=r"export format: expected one of .*'float'"):
        export(receiver, tmp_path / "out", "gguf")


def test_a_missing_package_is_named(receiver, tmp_path):
    format_ = EXPORTERS.get("onnx")
    missing = type(format_)("x", "of a package that is not there", ("no_such_package",), format_.write)
    with pytest.raises(qv.QVecError, match=r"needs no_such_package.*qvec-hub\[export\]"):
        missing.refuse_missing()


@pytest.mark.parametrize("loaded", [True, False])
def test_a_dequantized_model_is_an_ordinary_float_one(receiver, quantized, tmp_path, loaded):
    grid = "int3-group16-mse-affine"
    model = quantized(grid) if loaded else qv.quantize_(copy.deepcopy(receiver), grid)
    pixels = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = model(pixels).logits
        assert model.dequantize() is model
        assert torch.equal(model(pixels).logits, expected)
    assert not any(type(module).__name__ == "PackedLinear" for module in model.modules())
    model.save_pretrained(tmp_path / "plain")
    assert "quantization_config" not in json.loads((tmp_path / "plain" / "config.json").read_text())
    again = ViTForImageClassification.from_pretrained(tmp_path / "plain")
    assert torch.equal(again(pixels).logits, expected)
    qv.quantize_(model, grid)  # and can be quantized again


def test_a_quantized_model_traces_and_runs(quantized):
    model, pixels = quantized("int3-channel-absmax"), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        program = torch.export.export(model, (pixels,))
        assert torch.equal(program.module()(pixels).logits, model(pixels).logits)


def test_the_command_exports_a_folder(quantized, tmp_path, qvec):
    quantized("int3-channel-absmax").save_pretrained(tmp_path / "int3")
    done = qvec("export", "int3", "--to", "float", "--out", "plain", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["format"] == "float"
    before, after = qv.from_pretrained("int3"), qv.from_pretrained("plain")
    pixels = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(before(pixels).logits, after(pixels).logits)
    assert sorted(path.name for path in Path("plain").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert "quantization_config" not in json.loads(Path("plain/config.json").read_text())


@pytest.mark.parametrize("to", ["float", "compressed-tensors", "onnx", "torch"])
def test_a_disk_that_is_full_leaves_nothing(quantized, tmp_path, monkeypatch, to):
    """The last step, the move into place, is the one that fails here."""

    def full(self, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    model = quantized("int3-channel-absmax")
    monkeypatch.setattr(Path, "rename", full)
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(qv.ArtifactError, match="No space left"):
        export(model, tmp_path / "out", to)
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_zero_points_that_were_moved_onto_codes_are_stated_and_load(quantized, tmp_path):
    model, pixels = quantized("int4-group16-mse-affine"), torch.randn(3, 3, 16, 16)
    moved, loss = with_integer_zero_points(model)
    grid = model.config.quantization_config.grid
    for before, after in zip(packed_layers(model), packed_layers(moved), strict=True):
        points = after.weight_shift / after.weight_scale
        assert (points - points.round()).abs().max() < 1e-4
        assert points.min() >= 0
        assert points.max() < 1 << grid.bits
        error = (after.weight.dequantize() - before.weight.dequantize()).norm() / before.weight.dequantize().norm()
        assert 0 < error < 2 * loss + 0.1
    export(model, tmp_path / "out", "compressed-tensors", refit=True)
    assert f"changed the weights by {100 * loss:.1f} %" in (tmp_path / "out" / "README.md").read_text()
    with torch.no_grad():
        found = ViTForImageClassification.from_pretrained(tmp_path / "out")(pixels).logits
        torch.testing.assert_close(found, moved(pixels).logits, atol=1e-5, rtol=1e-5)


def test_a_refit_changes_nothing_on_a_symmetric_grid(quantized):
    model = quantized("int3-channel-absmax")
    moved, loss = with_integer_zero_points(model)
    assert loss == 0
    for before, after in zip(packed_layers(model), packed_layers(moved), strict=True):
        assert torch.equal(before.weight.dequantize(), after.weight.dequantize())
