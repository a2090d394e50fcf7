"""The same on a GPU: loading, patching, every rounding, saving and reloading. Skipped where there is none."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageClassification, ViTForImageClassification

import qvec_hub as qv

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

ROUNDINGS = ["nearest", "gptq", "fitted", "tuned"]


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def logits(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    parameter = next(model.parameters())
    with torch.no_grad():
        return model(pixel_values=images.to(parameter.device, parameter.dtype)).logits.float().cpu()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_loading_on_the_gpu_saves_what_it_computes_with(
    rounding: str, dtype: torch.dtype, receiver_folder: Path, vector, images, tmp_path: Path
) -> None:
    how = {"vector": vector, "weights": "int3", "scale": 1.0, "rounding": rounding, "dtype": dtype}
    model = qv.from_pretrained(receiver_folder, **how, device_map="cuda")
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"cuda"}
    expected = logits(model, images)
    model.save_pretrained(tmp_path / "saved")
    again = AutoModelForImageClassification.from_pretrained(tmp_path / "saved", device_map="cuda", dtype=dtype)
    assert torch.equal(logits(again, images), expected)
    on_cpu = qv.from_pretrained(tmp_path / "saved", dtype=dtype)
    assert torch.allclose(logits(on_cpu, images), expected, atol=1e-3 if dtype is torch.float32 else 0.15)


@pytest.mark.parametrize("name", ["int2", "int3-channel-mse", "int2-group16-mse-affine", "int4-channel-hqq-affine"])
def test_plain_rounding_gives_the_codes_of_the_cpu(name: str, receiver_folder: Path) -> None:
    grid = qv.Grid.parse(name)
    models = [
        qv.from_pretrained(receiver_folder, weights=grid, device_map=place, rounding="nearest")
        for place in ("cpu", "cuda")
    ]
    states = [{key: value.cpu() for key, value in model.state_dict().items()} for model in models]
    codes = [key for key in states[0] if key.endswith("weight_packed")]
    assert codes
    differing = sum(int((states[0][key] != states[1][key]).sum()) for key in codes)
    total = sum(states[0][key].numel() for key in codes)
    assert differing <= (0 if grid.range == "absmax" else 0.002 * total), (differing, total)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_quantizing_in_memory(rounding: str, receiver: ViTForImageClassification, images) -> None:
    model = qv.quantize_(copy.deepcopy(receiver).cuda(), "int3", rounding=rounding)
    found = logits(model, images)
    assert bool(found.isfinite().all())
    assert torch.allclose(logits(model.cpu(), images), found, atol=1e-3)


def test_patching_choosing_and_ranking(receiver: ViTForImageClassification, vector) -> None:
    model = copy.deepcopy(receiver).cuda()
    choice = qv.choose_scale(model, vector, "int2")
    assert choice.scale in dict(choice.curve)
    assert len(qv.rank_donors(model, [vector, 2 * vector], "int2")) == 2
    assert qv.scale_layers(model, vector, "int2", groups=2) is not None
    patched = qv.patch_(copy.deepcopy(receiver).cuda(), vector, 0.5)
    expected = qv.patch_(copy.deepcopy(receiver), vector, 0.5)
    for (name, found), wanted in zip(patched.state_dict().items(), expected.state_dict().values(), strict=True):
        assert torch.equal(found.cpu(), wanted), name


def test_quantization_aware_training_steps(receiver: ViTForImageClassification, images) -> None:
    model = qv.prepare_qat_(copy.deepcopy(receiver).cuda(), "int2-channel-mse")
    loss = model(pixel_values=images.cuda(), labels=torch.zeros(6, dtype=torch.long, device="cuda")).loss
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    qv.strip_qat_(model)


def test_extracting_from_models_on_the_gpu(base, finetuned, qat, vector) -> None:
    moved = [copy.deepcopy(model).cuda() for model in (finetuned, qat, base)]
    again = qv.QuantizationVector.extract(*moved, grid="int3")
    assert all(torch.equal(again[name], vector[name]) for name in vector.names())
