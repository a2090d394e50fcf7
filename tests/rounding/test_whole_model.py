"""Rounding a whole model by what flows through it, against one full forward pass for every group of layers."""

import copy

import pytest
import torch

from qvec_hub import Grid, QVecError
from qvec_hub.backbone.names import backbone_linears
from qvec_hub.grid.quantize import dequantize, quantize
from qvec_hub.rounding.fit_scales import DAMPING, fit, restored_target
from qvec_hub.rounding.gptq import gptq
from qvec_hub.rounding.methods.fitted import COMPENSATION
from qvec_hub.rounding.round_model import round_linears_

from .test_calibration import OTHERS, assert_same, inputs_of, other_classifier, swin

LAST = 1  # the tiny model's last layer


def groups(number: int) -> list[list[str]]:
    """In the order of use. The last layer's queries are those of the class token alone, so they stand apart."""
    names = [["q_proj", "k_proj", "v_proj"]] if number < LAST else [["q_proj"], ["k_proj", "v_proj"]]
    layer = f"vit.layers.{number}"
    attention = [[f"{layer}.attention.{name}" for name in group] for group in names]
    return [*attention, [f"{layer}.attention.o_proj"], [f"{layer}.mlp.fc1"], [f"{layer}.mlp.fc2"]]


def by_full_passes(model, grid: Grid, rounding: str, pixels: torch.Tensor) -> None:
    """Every group's inputs from passes through the whole model as it is by then, and through the float one."""
    floats = copy.deepcopy(model)
    for number in range(LAST + 1):
        streams = {"o_proj": f"vit.layers.{number}.layernorm_before", "fc2": f"vit.layers.{number}.layernorm_after"}
        for names in groups(number):
            kind = names[0].split(".")[-1]
            alone = number == LAST and kind not in ("k_proj", "v_proj")
            watched = [names[0], *([streams[kind]] if kind in streams else [])]
            own, other = (inputs_of(each, watched, pixels) for each in (model, floats))
            rows = [each[names[0]][:, :1] if alone else each[names[0]] for each in (own, other)]
            x, x_float = (each.flatten(0, 1).double() for each in rows)
            hessian = 2 / len(x) * x.T @ x
            for name in names:
                weight = model.get_submodule(name).weight
                if rounding == "gptq":
                    weight.data = dequantize(*gptq(weight.data, hessian, grid, damping=DAMPING), grid)
                    continue
                lost = (x_float - x) @ weight.data.double().T
                if kind in streams:
                    stream = other[streams[kind]] - own[streams[kind]]
                    lost = lost + (stream[:, :1] if alone else stream).flatten(0, 1).double()
                target = restored_target(weight.data, hessian, 2 / len(x) * lost.T @ x, COMPENSATION)
                weight.data = dequantize(*fit(target, hessian, grid), grid)


@pytest.mark.parametrize(
    ("rounding", "name", "batch_size"),
    [
        ("gptq", "int2", 4),
        ("gptq", "int3-group8-absmax-affine", 100),
        ("fitted", "int2-channel-mse-affine", 4),
        ("fitted", "int3", 1),
        ("fitted", "int3-group8-mse", 6),
    ],
)
def test_each_group_on_the_outputs_of_the_quantized_ones_before(
    rounding: str, name: str, batch_size: int, receiver, pixels
) -> None:
    grid, expected = Grid.parse(name), copy.deepcopy(receiver)
    by_full_passes(expected, grid, rounding, pixels)
    round_linears_(receiver, grid, rounding, pixels, batch_size=batch_size)
    assert_same(receiver, expected)


@pytest.mark.parametrize("rounding", ["gptq", "fitted"])
def test_the_model_computes_with_the_codes_that_are_returned(rounding: str, receiver, pixels) -> None:
    grid, before = Grid.parse("int2-channel-mse-affine"), copy.deepcopy(receiver)
    done = []
    found = round_linears_(receiver, grid, rounding, pixels, progress=done.append)
    assert list(found) == [name for name, _ in backbone_linears(receiver)]
    assert sum(done) == len(found) == 12
    for name, layer in backbone_linears(receiver):
        assert torch.equal(layer.weight, dequantize(*found[name], grid))
        assert found[name].codes.max() <= grid.qmax
    weights = {f"{name}.weight" for name in found}
    for name, tensor in before.state_dict().items():
        assert name in weights or torch.equal(receiver.state_dict()[name], tensor)
    again = round_linears_(before, grid, rounding, pixels)
    assert all(torch.equal(again[name].codes, found[name].codes) for name in found)
    receiver(pixels).logits.sum().backward()  # no hooks and no inference tensors are left behind


def test_fitting_keeps_the_models_answers_better() -> None:
    """On the zoo's base and images it has not seen: tuned below fitted, GPTQ and plain rounding, in this order."""
    from transformers import ViTForImageClassification

    from qvec_hub import fake_quantize, zoo
    from qvec_hub.proxies.model_inputs import proxy_pixels

    base = ViTForImageClassification.from_pretrained(zoo.base_path()).eval()
    base.classifier = torch.nn.Identity()  # the features that heads read
    unseen = torch.from_numpy(zoo.arrays("textures", "test", 48)[0]).permute(0, 3, 1, 2).float() / 127.5 - 1

    def distortion(model: torch.nn.Module) -> float:
        with torch.no_grad():
            return float((model(unseen).logits - base(unseen).logits).square().mean())

    grid = Grid.parse("int2-channel-mse-affine")
    nearest = copy.deepcopy(base)
    for _, layer in backbone_linears(nearest):
        layer.weight.data = fake_quantize(layer.weight.data, grid)
    found = {"nearest": distortion(nearest)}
    for rounding in ("gptq", "fitted", "tuned"):
        model = copy.deepcopy(base)
        round_linears_(model, grid, rounding, proxy_pixels(base, 128))
        found[rounding] = distortion(model)
    assert found["gptq"] < 0.9 * found["nearest"]
    assert found["fitted"] < 0.9 * found["gptq"]
    assert found["tuned"] < 0.95 * found["fitted"], found


@pytest.mark.parametrize("kind", OTHERS)
def test_other_classifiers(kind: str, pixels) -> None:
    model = other_classifier(kind)
    other = copy.deepcopy(model)
    found = round_linears_(model, Grid(3), "fitted", pixels, batch_size=4)
    assert len(found) == 12
    round_linears_(other, Grid(3), "fitted", pixels, batch_size=6)
    assert_same(model, other)


def test_stages_with_other_layers_between_them(pixels) -> None:
    """By their answers: normalized inputs leave a direction in which a row of codes can move at no cost."""
    model, other = swin(), swin()
    round_linears_(model, Grid(3), "fitted", pixels, batch_size=4)
    round_linears_(other, Grid(3), "fitted", pixels, batch_size=6)
    assert torch.allclose(model(pixels).logits, other(pixels).logits, atol=1e-5)
    assert not torch.allclose(model(pixels).logits, swin()(pixels).logits, atol=1e-5)


def test_a_model_that_computes_nan(receiver, pixels) -> None:
    with pytest.raises(QVecError, match=r"layer 'vit\.layers\.0\.attention\.q_proj'.*NaN"):
        round_linears_(receiver, Grid(2), "fitted", pixels * float("nan"))
    with pytest.raises(QVecError, match="refuses"):
        round_linears_(receiver, Grid(2), "fitted", pixels[:, :, :8])


def test_plain_rounding_is_where_it_starts(receiver, pixels) -> None:
    """A layer whose inputs are all zero has no reason to be rounded otherwise."""
    for name in ("q_proj", "k_proj", "v_proj"):
        layer = receiver.vit.layers[0].attention.get_submodule(name)
        receiver.vit.layers[0].layernorm_before.weight.data.zero_()
        receiver.vit.layers[0].layernorm_before.bias.data.zero_()
    weight = layer.weight.detach().clone()
    found = round_linears_(receiver, Grid(2), "fitted", pixels)
    assert torch.equal(found["vit.layers.0.attention.v_proj"].codes, quantize(weight, Grid(2)).codes)
