"""Calibration of whole models against a plain version with one full forward pass for every group of layers."""

import copy
from collections.abc import Callable

import pytest
import torch
from transformers import (
    BeitConfig,
    BeitForImageClassification,
    DeiTConfig,
    DeiTForImageClassification,
    Dinov2Config,
    Dinov2ForImageClassification,
    PreTrainedModel,
    SwinConfig,
    SwinForImageClassification,
    ViTForImageClassification,
)

import qvec_hub as qv
from qvec_hub import Grid, QVecError, fake_quantize, zoo
from qvec_hub.backbone.names import backbone_linears
from qvec_hub.bench.baselines.awq import awq
from qvec_hub.bench.baselines.calibrate import calibrate_
from qvec_hub.grid.quantize import dequantize, quantize
from qvec_hub.rounding.gptq import gptq
from qvec_hub.rounding.moments import Moments

ENCODER_LAYER = ["attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj", "mlp.fc1", "mlp.fc2"]
VIT = [[f"vit.layers.{number}.{name}" for name in ENCODER_LAYER] for number in range(2)]
SWIN = [[f"swin.encoder.layers.0.blocks.{number}.{name}" for name in ENCODER_LAYER] for number in range(2)]
SWIN += [["swin.encoder.layers.0.downsample.reduction"]]
SWIN += [[f"swin.encoder.layers.1.blocks.0.{name}" for name in ENCODER_LAYER]]


def by_full_passes(model, groups: list[list[str]], pixels: torch.Tensor, rounded: Callable) -> None:
    """For each group: all inputs of its layers in one pass of the model as it is by then, then its new weights."""
    for names in groups:
        inputs = inputs_of(model, names, pixels)
        for name in names:
            weight = model.get_submodule(name).weight
            weight.data = rounded(weight.data, inputs[name].flatten(0, -2).double())


def inputs_of(model, names: list[str], pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    inputs: dict[str, torch.Tensor] = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: inputs.update({name: args[0]})
        )
        for name in names
    ]
    with torch.no_grad():
        model(pixels)
    for hook in hooks:
        hook.remove()
    return inputs


def by_gptq(grid: Grid) -> Callable:
    return lambda weight, x: dequantize(*gptq(weight, 2 / len(x) * x.T @ x, grid), grid)


def by_awq(grid: Grid) -> Callable:
    return lambda weight, x: awq(weight, 2 / len(x) * x.T @ x, x.abs().mean(dim=0), grid)


def swin() -> SwinForImageClassification:
    torch.manual_seed(0)
    sizes = {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [2, 1], "num_heads": [2, 2]}
    return SwinForImageClassification(SwinConfig(**sizes, window_size=4)).eval()


def assert_same(model, other) -> None:
    for (name, found), expected in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize(
    ("method", "reference", "name", "batch_size"),
    [
        ("gptq", by_gptq, "int2-channel-mse", 1),
        ("gptq", by_gptq, "int2", 4),
        ("gptq", by_gptq, "int3-group8-absmax-affine", 100),
        ("awq", by_awq, "int2", 4),
        ("awq", by_awq, "int3", 6),
    ],
)
def test_layers_are_quantized_in_order_on_the_outputs_of_quantized_ones(
    method: str, reference: Callable, name: str, batch_size: int, receiver
) -> None:
    # More than the 32 features: with fewer class tokens the last layer's moments are singular, and the last bit of one
    # decides between codes that are equally good.
    pixels = torch.randn(48, 3, 16, 16, generator=torch.Generator().manual_seed(9))
    grid, expected = Grid.parse(name), copy.deepcopy(receiver)
    by_full_passes(expected, VIT, pixels, reference(grid))
    assert calibrate_(receiver, pixels, grid, method, batch_size=batch_size) is receiver
    assert_same(receiver, expected)


@pytest.mark.parametrize("batch_size", [4, 6])
def test_stages_with_other_layers_between_them(batch_size: int, pixels) -> None:
    grid, model = Grid(3), swin()
    expected = copy.deepcopy(model)
    by_full_passes(expected, SWIN, pixels, by_gptq(grid))
    assert_same(calibrate_(model, pixels, grid, batch_size=batch_size), expected)


OTHERS = {
    "deit": (DeiTForImageClassification, DeiTConfig, {}),
    "dinov2": (Dinov2ForImageClassification, Dinov2Config, {"mlp_ratio": 2}),
    "beit": (BeitForImageClassification, BeitConfig, {"use_relative_position_bias": True}),
    "beit-shared": (BeitForImageClassification, BeitConfig, {"use_shared_relative_position_bias": True}),
}


def other_classifier(kind: str) -> PreTrainedModel:
    model_class, config_class, extra = OTHERS[kind]
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    torch.manual_seed(0)
    return model_class(config_class(**sizes, image_size=16, patch_size=4, **extra)).eval()


@pytest.mark.parametrize("kind", OTHERS)
def test_other_classifiers_give_the_same_in_parts_as_at_once(kind: str, pixels) -> None:
    model = other_classifier(kind)
    before, other = copy.deepcopy(model), copy.deepcopy(model)
    calibrate_(model, pixels, "int3", batch_size=4)
    assert_same(model, calibrate_(other, pixels, "int3"))
    changed = [not torch.equal(layer.weight, old.weight) for (_, layer), (_, old) in both(model, before)]
    assert len(changed) == 12
    assert all(changed)


def both(model, other):
    return zip(backbone_linears(model), backbone_linears(other), strict=True)


def test_weights_are_values_of_the_grid_and_nothing_else_has_changed(receiver, pixels) -> None:
    before, grid = copy.deepcopy(receiver), Grid(2, "group", "mse", symmetric=False, group_size=8)
    calibrate_(receiver, pixels, grid)
    weights = {f"{name}.weight" for name, _ in backbone_linears(receiver)}
    for (name, layer), (_, old) in both(receiver, before):
        _, scale, shift = quantize(old.weight.detach(), grid)
        codes = (layer.weight.unflatten(1, (-1, 8)) + shift.unsqueeze(2)) / scale.unsqueeze(2)
        assert torch.allclose(codes, codes.round().clamp(0, 3), atol=1e-3), name
        assert not torch.equal(layer.weight, fake_quantize(old.weight, grid))
    for name, tensor in before.state_dict().items():
        assert name in weights or torch.equal(receiver.state_dict()[name], tensor)


def test_the_model_is_left_as_it_was_found(receiver, pixels) -> None:
    receiver.train()
    receiver.vit.layers[0].eval()
    own = receiver.vit.layers[1].forward
    receiver.vit.layers[1].forward = own  # as libraries do that move a model between devices
    done = []
    calibrate_(receiver, pixels, "int2", progress=done.append)
    assert sum(done) == 12
    assert receiver.training
    assert not receiver.vit.layers[0].training
    assert vars(receiver.vit.layers[1])["forward"] is own
    for name, module in receiver.named_modules():
        assert not module._forward_pre_hooks
        assert ("forward" in vars(module)) == (name == "vit.layers.1")
    receiver(pixels).logits.sum().backward()


def test_query_key_and_value_share_their_statistics(receiver, pixels, monkeypatch) -> None:
    made = []
    original = Moments.__init__
    monkeypatch.setattr(
        Moments, "__init__", lambda self, *args, **how: made.append(self) or original(self, *args, **how)
    )
    calibrate_(receiver, pixels, "int2", batch_size=4)
    assert len(made) == 2 * 4
    assert {each.rows for each in made} == {6 * 17}


def test_half_precision_models_stay_so(receiver, pixels) -> None:
    model = calibrate_(receiver.bfloat16(), pixels, "int3")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_real_images_calibrate_a_real_model_for_images_it_has_not_seen() -> None:
    """On the zoo's base, by what 2 bits do to its answers: GPTQ and AWQ do far better than plain rounding."""
    base = ViTForImageClassification.from_pretrained(zoo.base_path()).eval()
    base.classifier = torch.nn.Identity()  # the features that heads read
    images = [torch.from_numpy(zoo.arrays("textures", split, 24)[0]) for split in ("train", "test")]
    pixels, unseen = (each.permute(0, 3, 1, 2).float() / 127.5 - 1 for each in images)

    def distortion(model: torch.nn.Module) -> float:
        with torch.no_grad():
            return float((model(unseen).logits - base(unseen).logits).square().mean())

    grid = Grid(2)
    nearest = copy.deepcopy(base)
    for _, layer in backbone_linears(nearest):
        layer.weight.data = fake_quantize(layer.weight.data, grid)
    found = {method: distortion(calibrate_(copy.deepcopy(base), pixels, grid, method)) for method in ("gptq", "awq")}
    assert found["gptq"] < 0.6 * distortion(nearest)
    assert found["awq"] < 0.9 * distortion(nearest)


def test_what_cannot_be_calibrated_is_said_before_anything_is_changed(receiver, pixels) -> None:
    before = copy.deepcopy(receiver.state_dict())
    for arguments, words in (
        ((pixels, "int2", "hqq"), "method"),
        ((pixels, "int9"), "int9|bits"),
        ((pixels[:0], "int2"), "pixel_values"),
        ((pixels[0], "int2"), "pixel_values"),
        ((pixels.long(), "int2"), "pixel_values"),
        ((pixels.tolist(), "int2"), "pixel_values"),
        ((pixels[:, :, :8], "int2"), "refuses"),
        ((pixels[:, :2], "int2"), "refuses"),
    ):
        with pytest.raises(QVecError, match=words):
            calibrate_(receiver, *arguments)
    with pytest.raises(QVecError, match="batch_size"):
        calibrate_(receiver, pixels, "int2", batch_size=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in receiver.state_dict().items())


def test_models_that_are_not_plain(receiver, pixels) -> None:
    with pytest.raises(QVecError, match="plain float Linear"):
        calibrate_(qv.quantize_(copy.deepcopy(receiver), "int2"), pixels, "int2")
    with pytest.raises(QVecError, match="expected a transformers model"):
        calibrate_(torch.nn.Linear(2, 2), pixels, "int2")
    unused = copy.deepcopy(receiver)
    unused.vit.spare = torch.nn.Linear(2, 2)
    with pytest.raises(QVecError, match=r"vit\.spare"):
        calibrate_(unused, pixels, "int2")
    with pytest.raises(QVecError, match=r"vit\.layers\.0\.attention\.q_proj.*NaN"):
        calibrate_(copy.deepcopy(receiver), pixels * float("nan"), "int2")
