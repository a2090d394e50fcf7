"""A vector of an open_clip pair goes onto transformers' CLIP classifier."""

import copy

import pytest
import torch
from transformers import AutoModelForImageClassification, CLIPConfig, CLIPForImageClassification

import qvec_hub as qv
from qvec_hub.backbone.names import canonical_names
from qvec_hub.grid.quantize import quantize
from qvec_hub.interop.translate import translate
from qvec_hub.layers.dequantize import named_packed_layers

from .helpers import filled, fixture, moved


@pytest.fixture
def receiver(tmp_path):
    """A classifier on the base of the pair, saved in a folder."""
    state, _, _ = fixture("open_clip")
    translated = translate(moved(state, 3), "receiver", heads=2)
    config = CLIPConfig(vision_config=translated.config.to_dict(), num_labels=3)
    model = filled(CLIPForImageClassification(config), translated.tensors)
    model.save_pretrained(tmp_path / "receiver")
    return model


@pytest.fixture
def vector(tmp_path):
    state, _, _ = fixture("open_clip")
    pair = {name: moved(state, seed) for name, seed in (("fp", 1), ("qat", 2))}
    for name, tensors in pair.items():
        torch.save(tensors, tmp_path / f"{name}.pt")
    return qv.import_pair(tmp_path / "fp.pt", tmp_path / "qat.pt", heads=2), pair


def test_the_codes_are_those_of_the_original_layout(receiver, vector, tmp_path):
    made, pair = vector
    model = qv.from_pretrained(tmp_path / "receiver", vector=made, weights="int3", scale=1.0, rounding="nearest")
    state, _, _ = fixture("open_clip")
    theirs = moved(state, 3)
    layers, names = named_packed_layers(model), {ours: name for name, ours in canonical_names(receiver).items()}
    for block in range(2):
        key = f"visual.transformer.resblocks.{block}.attn.in_proj_weight"
        expected = quantize(theirs[key] + (pair["qat"][key] - pair["fp"][key]), made.config.grid)
        found = [
            layers[names[f"encoder.layers.{block}.self_attn.{part}_proj.weight"].removesuffix(".weight")]
            for part in "qkv"
        ]
        values = torch.cat([layer.weight.dequantize() for layer in found])
        assert torch.equal(values, (expected.codes.float() + made.config.grid.qmin) * expected.scale)


def test_it_saves_and_loads_and_equals_the_single_steps(receiver, vector, tmp_path):
    made, _ = vector
    model = qv.from_pretrained(tmp_path / "receiver", vector=made, weights="int3", scale=1.0, rounding="nearest")
    model.save_pretrained(tmp_path / "int3")
    stepwise = copy.deepcopy(receiver)
    qv.patch_(stepwise, made, 1.0)
    qv.quantize_(stepwise, "int3")
    pixels = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = model(pixels).logits
        for other in (AutoModelForImageClassification.from_pretrained(tmp_path / "int3"), stepwise):
            assert torch.equal(other(pixels).logits, expected)


@pytest.mark.parametrize("rounding", ["gptq", "fitted"])
def test_roundings_that_watch_images_work(receiver, rounding):
    images = torch.randn(8, 3, 16, 16)
    model = qv.quantize_(copy.deepcopy(receiver), "int3-channel-mse", rounding=rounding, images=images)
    plain = qv.quantize_(copy.deepcopy(receiver), "int3-channel-mse")
    with torch.no_grad():
        wanted, found, nearest = (each(images).logits for each in (receiver, model, plain))
    assert (found - wanted).norm() < (nearest - wanted).norm()
