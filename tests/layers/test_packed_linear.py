"""Packed layers: bit-equal to the grid's float values, and good citizens of quanto and torch."""

import copy
import io
from pathlib import Path

import pytest
import torch
from optimum.quanto import QLinear, QModuleMixin, QTensor, freeze, qtypes
from torch import nn
from transformers import ViTForImageClassification

import qvec_hub as qv
from qvec_hub.backbone.names import backbone_linears
from qvec_hub.grid.packing import packed_size
from qvec_hub.layers.packed_linear import PackedLinear, packed_layers, swap_linears_
from qvec_hub.loading.quantize_model import _pack_linears_ as pack_linears_
from tests.conftest import tiny_config

GRIDS = ["int2", "int3", "int4", "int5", "int6", "int7", "int8", "int2-channel-mse", "int3-group10", "int3-tensor",
         "int4-group16-hqq-affine", "int3-channel-absmax-affine"]  # fmt: skip


def rounded_by_hand(model: ViTForImageClassification, grid: str) -> ViTForImageClassification:
    """The same model in plain float layers whose weights are the grid's values."""
    model = copy.deepcopy(model)
    for _, module in backbone_linears(model):
        module.weight.data = qv.fake_quantize(module.weight, qv.Grid.parse(grid))
    return model


@pytest.mark.parametrize("grid", GRIDS)
def test_a_quantized_model_computes_what_the_float_values_compute(grid: str, receiver, pixels) -> None:
    expected = rounded_by_hand(receiver, grid)
    quantized = qv.quantize_(receiver, grid)
    with torch.inference_mode():
        assert torch.equal(quantized(pixels).logits, expected(pixels).logits)
    for (_, ours), (_, theirs) in zip(backbone_linears(quantized), backbone_linears(expected), strict=True):
        assert torch.equal(ours.weight.dequantize(), theirs.weight)


@pytest.mark.parametrize("grid", GRIDS)
def test_sizes_are_dense_in_memory_and_on_disk(grid: str, receiver, tmp_path: Path) -> None:
    quantized = qv.quantize_(receiver, grid)
    width = qv.Grid.parse(grid).bits
    for layer in packed_layers(quantized):
        assert layer.weight_packed.numel() == packed_size(layer.in_features * layer.out_features, width)
        assert "weight" not in dict(layer.named_parameters())
    in_memory = sum(t.numel() * t.element_size() for t in quantized.state_dict().values())
    quantized.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < in_memory + 16_000  # names and shapes


def test_only_the_backbones_linear_layers_are_touched(receiver) -> None:
    before = {name: p.clone() for name, p in receiver.named_parameters()}
    linears = [name for name, _ in backbone_linears(receiver)]
    qv.quantize_(receiver, "int2")
    assert type(receiver.classifier) is nn.Linear
    assert type(receiver.vit.embeddings.patch_embeddings.projection) is nn.Conv2d
    after = dict(receiver.named_parameters())
    assert set(before) - set(after) == {f"{name}.weight" for name in linears}
    assert all(torch.equal(after[name], before[name]) for name in after)


def test_layers_follow_quantos_protocol(receiver, pixels) -> None:
    assert {f"qint{bits}" for bits in range(2, 9)} <= set(qtypes)
    float_logits = receiver(pixels).logits.detach()
    expected = rounded_by_hand(receiver, "int3")(pixels).logits.detach()
    swap_linears_(receiver, qv.Grid(3))
    layers = [module for module in receiver.modules() if isinstance(module, QModuleMixin)]
    assert len(layers) == 12
    assert not any(layer.frozen for layer in layers)
    assert all(isinstance(layer, QLinear) and layer.weight_qtype == qtypes["qint3"] for layer in layers)
    assert torch.equal(receiver(pixels).logits, expected)  # dynamic rounding before freezing
    freeze(receiver)
    assert all(layer.frozen and isinstance(layer.weight, QTensor) for layer in layers)
    assert layers[0].weight.qtype.bits == 3
    assert torch.equal(receiver(pixels).logits, expected)
    assert not torch.equal(expected, float_logits)


def test_a_packed_weight_is_a_tensor_one_can_compute_with(receiver) -> None:
    weight = qv.quantize_(receiver, "int3").vit.layers[0].mlp.fc1.weight
    values = weight.dequantize()
    x = torch.randn(3, weight.shape[1])
    assert torch.equal(nn.functional.linear(x, weight), nn.functional.linear(x, values))
    assert torch.equal(weight + 1, values + 1)
    assert weight.shape == values.shape
    assert weight.device == values.device
    assert "int3" in repr(weight)


@pytest.mark.parametrize("grid", ["int3", "int2-channel-mse", "int4-group10-absmax-affine"])
def test_copying_moving_saving_compiling(grid: str, receiver, pixels, tmp_path: Path) -> None:
    model = qv.quantize_(receiver, grid)
    with torch.inference_mode():
        expected = model(pixels).logits
        assert torch.equal(copy.deepcopy(model)(pixels).logits, expected)
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        assert torch.equal(torch.load(buffer, weights_only=False)(pixels).logits, expected)
        assert torch.equal(model.to("cpu")(pixels).logits, expected)
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        assert torch.equal(compiled(pixels).logits, expected)
    on_meta = copy.deepcopy(model).to("meta")
    assert all(layer.weight_packed.device.type == "meta" for layer in packed_layers(on_meta))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_changing_the_dtype_keeps_the_grid(dtype: torch.dtype, receiver, pixels) -> None:
    model = qv.quantize_(receiver, "int3")
    before = [layer.weight_scale.clone() for layer in packed_layers(model)]
    expected = model(pixels).logits
    model.to(dtype)
    for layer, scale in zip(packed_layers(model), before, strict=True):
        assert torch.equal(layer.weight_scale, scale)
        assert layer.weight_scale.dtype == torch.float32
        assert layer.weight.dtype == dtype
    logits = model(pixels.to(dtype)).logits
    assert logits.dtype == dtype
    assert torch.allclose(logits.float(), expected, atol=0.1)


def test_autocast(receiver, pixels) -> None:
    model = qv.quantize_(receiver, "int3")
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(pixels).logits
    assert torch.allclose(logits.float(), model(pixels).logits, atol=0.1)


def test_gradients_reach_the_input_and_the_rest(receiver, pixels) -> None:
    model = qv.quantize_(receiver, "int3")
    pixels = pixels.clone().requires_grad_()
    model(pixels).logits.sum().backward()
    assert float(pixels.grad.abs().sum()) > 0
    assert model.vit.layers[0].mlp.fc1.bias.grad is not None


def test_state_dicts_load_into_fresh_layers(receiver, pixels) -> None:
    model = qv.quantize_(copy.deepcopy(receiver), "int5-group7-absmax-affine")
    fresh = ViTForImageClassification(receiver.config).eval()
    swap_linears_(fresh, qv.Grid.parse("int5-group7-absmax-affine"))
    fresh.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(fresh(pixels).logits, model(pixels).logits)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_weight_that_cannot_be_rounded_leaves_the_model_as_it_was(poison: float, receiver) -> None:
    receiver.vit.layers[1].mlp.fc2.weight.data[3, 3] = poison
    before = {name: tensor.clone() for name, tensor in receiver.state_dict().items()}
    with pytest.raises(qv.GridError, match=r"layers\.1\.mlp\.fc2"):
        qv.quantize_(receiver, "int3")
    after = receiver.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) or "fc2" in name for name in before)
    assert all(type(module) is nn.Linear for _, module in backbone_linears(receiver))
    assert not hasattr(receiver.config, "quantization_config")


def test_what_cannot_be_quantized(receiver) -> None:
    qv.quantize_(receiver, "int3")
    with pytest.raises(qv.MisfitError, match="quantized already"):
        qv.quantize_(receiver, "int3")
    with pytest.raises(qv.GridError, match="int2 to int8"):
        qv.quantize_(receiver, "float8")
    with pytest.raises(qv.MisfitError, match="Sequential"):
        qv.quantize_(nn.Sequential(nn.Linear(3, 3)), "int3")


def test_quantizing_one_of_two_models_with_one_config(receiver, tmp_path: Path) -> None:
    other = ViTForImageClassification(receiver.config)
    qv.quantize_(receiver, "int3")
    other.save_pretrained(tmp_path)
    assert "quantization_config" not in (tmp_path / "config.json").read_text()


def test_the_helpers_name_what_they_hold() -> None:
    linear = nn.Linear(6, 4)
    layer = PackedLinear.from_linear(linear, qv.Grid(3))
    assert "int3-channel-absmax" in repr(layer)
    holder = ViTForImageClassification(tiny_config())
    pack_linears_(holder, {})
    assert packed_layers(holder) == []
