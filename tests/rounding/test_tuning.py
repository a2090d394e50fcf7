"""Tuning scales to the float model's features, against the loss computed without autograd."""

import copy

import pytest
import torch
from torch import Tensor, nn

from qvec_hub import Grid
from qvec_hub.backbone.names import backbone_linears
from qvec_hub.grid.quantize import Quantized, dequantize
from qvec_hub.rounding.round_model import amount_of_work, round_linears_
from qvec_hub.rounding.tune_scales import RATE, WARMUP, tune_scales

from .test_calibration import swin

GRID = Grid.parse("int2-channel-mse-affine")


def features(model, found: dict[str, Quantized] | None, grid: Grid, images: Tensor) -> Tensor:
    """What the head takes: the normalized class token."""
    if found is not None:
        model = copy.deepcopy(model)
        for name, layer in backbone_linears(model):
            layer.weight.data = dequantize(*found[name], grid)
    with torch.no_grad():
        return model.vit(images).last_hidden_state[:, 0]


def distance(model, found: dict[str, Quantized], grid: Grid, images: Tensor) -> float:
    wanted, own = (features(model, each, grid, images).double() for each in (None, found))
    return float((own - wanted).square().mean() / wanted.square().mean())


@pytest.fixture
def fitted(receiver, pixels) -> dict[str, Quantized]:
    return round_linears_(copy.deepcopy(receiver), GRID, "fitted", pixels)


@pytest.mark.parametrize("name", ["int2-channel-mse-affine", "int3-group8-mse", "int2-tensor-mse", "int4"])
def test_features_come_closer_and_nothing_else_changes(name: str, receiver, pixels, monkeypatch) -> None:
    monkeypatch.setattr("qvec_hub.rounding.tune_scales._varied", lambda images, count, generator: images)
    grid, before = Grid.parse(name), copy.deepcopy(receiver.state_dict())
    found = round_linears_(copy.deepcopy(receiver), grid, "fitted", pixels)
    receiver.train()
    done: list[int] = []
    tuned = tune_scales(receiver, found, grid, pixels, steps=60, progress=done.append)
    assert receiver.training
    assert receiver.vit.layernorm.weight.requires_grad
    assert all(torch.equal(tensor, before[key]) for key, tensor in receiver.state_dict().items())
    assert sum(done) == 60
    receiver.eval()
    assert distance(receiver, tuned, grid, pixels) < 0.9 * distance(receiver, found, grid, pixels)
    for layer, each in tuned.items():
        assert torch.equal(each.codes, found[layer].codes)
        assert each.scale.dtype == torch.float32
        assert not each.scale.requires_grad
        assert each.scale.shape == found[layer].scale.shape
        assert bool((each.scale > 0).all())
        assert (each.shift is None) == grid.symmetric


def test_the_first_step_goes_down_the_slope(receiver, fitted, pixels, monkeypatch) -> None:
    """Adam's first step is its rate in the direction of the slope, which finite differences tell as well."""
    monkeypatch.setattr("qvec_hub.rounding.tune_scales._varied", lambda images, count, generator: images)
    tuned = tune_scales(receiver, fitted, GRID, pixels, steps=1)
    step, checked = RATE / WARMUP, 0
    for name in ("vit.layers.0.attention.v_proj", "vit.layers.1.mlp.fc2"):
        codes, scale, shift = fitted[name]
        assert torch.allclose((tuned[name].scale / scale).log().abs(), torch.tensor(step), rtol=1e-2)
        assert torch.allclose(((tuned[name].shift - shift) / scale).abs(), torch.tensor(step), rtol=1e-2)
        for row in range(0, len(scale), 5):
            more = scale.clone()
            more[row] *= 1.02
            less = scale.clone()
            less[row] *= 0.98
            turned = [fitted | {name: Quantized(codes, each, shift)} for each in (more, less)]
            up, down = (distance(receiver, each, GRID, pixels) for each in turned)
            if abs(up - down) > 1e-5:  # a slope that float32 can tell
                assert bool(tuned[name].scale[row] > scale[row]) == (up < down)
                checked += 1
    assert checked >= 8


def test_rounding_ends_with_the_tuned_scales(receiver, fitted, pixels) -> None:
    tuned = tune_scales(receiver, fitted, GRID, pixels)
    done: list[int] = []
    work = amount_of_work(receiver, "tuned")
    found = round_linears_(receiver, GRID, "tuned", pixels, progress=done.append)
    assert sum(done) == work > amount_of_work(receiver, "fitted") == 12
    for name, layer in backbone_linears(receiver):
        assert torch.equal(found[name].codes, tuned[name].codes)
        assert torch.allclose(found[name].scale, tuned[name].scale, rtol=1e-4)
        assert torch.equal(layer.weight, dequantize(*found[name], GRID))


def test_seeds_decide_what_is_drawn(receiver, fitted, pixels) -> None:
    one, again, other = (tune_scales(receiver, fitted, GRID, pixels, steps=3, seed=seed) for seed in (0, 0, 1))
    name = "vit.layers.0.mlp.fc1"
    assert torch.equal(one[name].scale, again[name].scale)
    assert not torch.equal(one[name].scale, other[name].scale)


def test_other_classifiers(receiver, pixels) -> None:
    headless = copy.deepcopy(receiver)
    headless.classifier = nn.Identity()
    for model in (swin(), headless):
        found = round_linears_(copy.deepcopy(model), Grid(3), "fitted", pixels)
        tuned = tune_scales(model, found, Grid(3), pixels, steps=2)
        assert tuned.keys() == found.keys()
        assert all(not torch.equal(tuned[name].scale, found[name].scale) for name in found)
