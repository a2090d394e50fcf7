"""A scale for each group of layers, against the criterion computed by hand."""

import copy

import pytest
import torch

import qvec_hub as qv
from qvec_hub.backbone.names import backbone_linears, backbone_tensors

from .test_scale import GRID, divergence

LAYERS = {  # shares of what rounding changes that the vector of these tests adds, layer by layer
    "layer.0.": 1.0,
    "layer.1.": -0.5,
}


@pytest.fixture
def helpful(receiver, vector) -> qv.QuantizationVector:
    """What brings the first layer to where rounding changes nothing, and the second away from there."""
    rounded = copy.deepcopy(receiver)
    for _, layer in backbone_linears(rounded):
        layer.weight.data = qv.fake_quantize(layer.weight.data, GRID)
    target = copy.deepcopy(receiver)
    for (name, mine), theirs in zip(backbone_tensors(target).items(), backbone_tensors(rounded).values(), strict=True):
        share = next((share for part, share in LAYERS.items() if part in name), 0.0)
        mine.data += share * (theirs - mine)
    return qv.QuantizationVector.extract(receiver, target, receiver, grid=GRID)


def test_groups_get_what_suits_them(receiver, helpful, pixels) -> None:
    before = copy.deepcopy(receiver.state_dict())
    together = qv.choose_scale(receiver, helpful, GRID, images=pixels)
    scaled, scales = qv.scale_layers(receiver, helpful, GRID, groups=2, images=pixels)
    assert together.scale > 0
    assert len(scales) == 2
    assert scales[0] != scales[1]  # the two layers want opposite things
    for name in helpful:
        factor = scales[0] if "layer.0." in name or "embedding" in name else scales[1]
        assert torch.equal(scaled[name], helpful[name] * factor), name
    assert divergence(receiver, scaled, 1.0, pixels) < together.divergence * 1.0001
    assert all(torch.equal(tensor, before[name]) for name, tensor in receiver.state_dict().items())


def test_one_group_is_one_scale(receiver, helpful, pixels) -> None:
    scaled, _ = qv.scale_layers(receiver, helpful, GRID, groups=1, images=pixels)
    assert scaled.config.scale == 1.0
    best = min((0.5, 1.0, 1.5), key=lambda factor: divergence(receiver, helpful, factor * 1.0, pixels))
    assert divergence(receiver, scaled, 1.0, pixels) <= 1.0001 * divergence(receiver, helpful, best, pixels)


def test_a_vector_that_does_not_help_becomes_nothing(receiver, vector, pixels) -> None:
    harms = 50.0 * vector
    scaled, scales = qv.scale_layers(receiver, harms, GRID, groups=2, images=pixels)
    assert set(scales) == {0.0}
    assert not any(scaled[name].any() for name in scaled)


@pytest.mark.parametrize("groups", [0, 3])
def test_no_more_groups_than_layers(groups: int, receiver, vector) -> None:
    with pytest.raises(qv.QVecError, match=f"groups: expected 1 to 2.*found {groups}"):
        qv.scale_layers(receiver, vector, GRID, groups=groups)
