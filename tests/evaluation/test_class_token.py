"""Skipping what a head does not read changes no logit, and leaves the model as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import DeiTConfig, DeiTForImageClassification, ViTForImageClassification

from qvec_hub.backbone.class_token import only_class_token
from qvec_hub.data.images import load_images
from qvec_hub.evaluation.images import preprocess
from qvec_hub.evaluation.runner import count_correct, evaluate

from .conftest import tiny_vit


def pixels_of(model: ViTForImageClassification) -> torch.Tensor:
    size = model.config.image_size
    return torch.randn(9, 3, size, size, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_logits_are_those_of_transformers(vit, qkv_bias, layers):
    changed = {**vit.config.to_dict(), "qkv_bias": qkv_bias, "num_hidden_layers": layers}
    model = ViTForImageClassification(type(vit.config)(**changed)).eval()
    pixels = pixels_of(model)
    before = model(pixels)
    with only_class_token(model):
        inside = model(pixels)
    after = model(pixels)
    torch.testing.assert_close(inside.logits, before.logits, rtol=1.3e-6, atol=1e-5)
    assert torch.equal(after.logits, before.logits)


@torch.inference_mode()
def test_it_does_leave_work_out(vit):
    model, seen = copy.deepcopy(vit).eval(), []
    for name, module in model.named_modules():
        if name.endswith(("fc1", "q_proj", "k_proj")):
            module.register_forward_pre_hook(lambda module, inputs, name=name: seen.append((name, inputs[0].shape[1])))
    with only_class_token(model):
        model(pixels_of(model))
    tokens = dict(seen)
    last = f"vit.layers.{model.config.num_hidden_layers - 1}"
    assert tokens[f"{last}.mlp.fc1"] == tokens[f"{last}.attention.q_proj"] == 1
    assert tokens[f"{last}.attention.k_proj"] == tokens["vit.layers.0.mlp.fc1"] > 1


@torch.inference_mode()
def test_other_models_are_left_as_they_are():
    eager, pixels = tiny_vit(0), torch.randn(2, 3, 16, 16)
    eager.set_attn_implementation("eager")
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    deit = DeiTForImageClassification(DeiTConfig(image_size=16, patch_size=8, **sizes))
    for model in (eager, deit, torch.nn.Flatten()):
        model.eval()
        expected = model(pixels)
        with only_class_token(model):
            found = model(pixels)
        assert torch.equal(getattr(found, "logits", found), getattr(expected, "logits", expected))


def test_an_error_inside_leaves_the_model_as_it_was(vit):
    with pytest.raises(KeyboardInterrupt), only_class_token(vit):
        raise KeyboardInterrupt
    assert "forward" not in vars(vit.vit.layers[-1])


def test_counts_are_those_of_evaluate(vit, photos, processor):
    images = preprocess(load_images(photos), processor)
    assert count_correct(vit.eval(), images, 10) == evaluate(vit, images, progress=False).correct
