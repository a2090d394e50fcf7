"""Checkpoints of timm and open_clip give the same outputs in transformers, and what cannot is refused."""

import pytest
import torch
from transformers import (
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    SwinForImageClassification,
    ViTForImageClassification,
    ViTModel,
)

from qvec_hub import Grid, MisfitError
from qvec_hub.backbone.names import canonical_names
from qvec_hub.grid.quantize import quantize
from qvec_hub.interop.translate import translate

from .helpers import VITS, filled, fixture, moved


def classifier(kind, translated, head):
    """A transformers classifier with the translated backbone and the checkpoint's own head."""
    translated.config.num_labels = 5
    model = filled(kind(translated.config), translated.tensors)
    model.classifier.weight.data = translated.head[f"{head}.weight"]
    model.classifier.bias.data = translated.head[f"{head}.bias"]
    return model


@pytest.mark.parametrize("name", VITS)
@pytest.mark.parametrize("prefix", ["", "model.", "module.model."])
def test_a_timm_vit_gives_the_same_logits(name, prefix):
    state, images, logits = fixture(name)
    translated = translate({prefix + key: tensor for key, tensor in state.items()}, name, heads=2)
    model = classifier(ViTForImageClassification, translated, "head")
    torch.testing.assert_close(model(images).logits, logits, atol=1e-5, rtol=1e-5)


def test_a_timm_swin_gives_the_same_logits():
    state, images, logits = fixture("timm_swin")
    model = classifier(SwinForImageClassification, translate(state, "swin"), "head.fc")
    torch.testing.assert_close(model(images).logits, logits, atol=1e-5, rtol=1e-5)


def test_an_open_clip_tower_gives_the_same_embedding():
    state, images, embedding = fixture("open_clip")
    translated = translate(state, "clip", heads=2)
    translated.config.hidden_act = "gelu"  # of this model; OpenAI's own have quick_gelu
    model = filled(CLIPVisionModel(translated.config), translated.tensors)
    found = model(images).pooler_output @ translated.head["proj"]
    torch.testing.assert_close(found, embedding, atol=1e-5, rtol=1e-5)


def test_the_authors_open_clip_classifier_is_recognized():
    state, _, _ = fixture("open_clip")
    visual = {f"image_encoder.model.{key}": t for key, t in state.items() if key.startswith("visual.")}
    head = {"weight": torch.zeros(3, 8), "bias": torch.zeros(3), "normalize_flag": torch.tensor(True)}
    wrapped = visual | {f"classification_head.{key}": tensor for key, tensor in head.items()}
    wrapped["image_encoder.model.logit_scale"] = torch.tensor(1.0)
    found, plain = translate(wrapped, "wrapped", heads=2).tensors, translate(state, "plain", heads=2).tensors
    assert list(found) == list(plain)
    assert all(torch.equal(found[name], plain[name]) for name in plain)


def test_dinov2_gives_the_same_features_as_a_vit():
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4)
    theirs = Dinov2Model(config).eval()
    for parameter in theirs.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    state = {canonical: theirs.state_dict()[name] for name, canonical in canonical_names(theirs).items()}
    translated = translate(state, "dinov2", heads=2)
    ours = filled(ViTModel(translated.config, add_pooling_layer=False), translated.tensors)
    images = torch.randn(2, 3, 16, 16)
    expected = theirs(images).last_hidden_state
    torch.testing.assert_close(ours(images).last_hidden_state, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["timm_vit", "timm_swin", "open_clip"])
def test_translating_a_difference_is_the_difference_of_translations(name):
    state, _, _ = fixture(name)
    other = moved(state, seed=1)
    difference = translate({key: other[key] - state[key] for key in state}, "difference", heads=2).tensors
    one, two = translate(state, "one", heads=2).tensors, translate(other, "two", heads=2).tensors
    for key in difference:
        assert torch.equal(difference[key], two[key] - one[key])


@pytest.mark.parametrize(
    "grid", ["int2-channel-absmax", "int3-channel-absmax", "int3-channel-mse", "int4-group16-absmax"]
)
def test_codes_are_those_of_the_original_layout(grid):
    state, _, _ = fixture("timm_vit")
    translated = translate(state, "vit", heads=2).tensors
    parts = ("query", "key", "value")
    grid = Grid.parse(grid)
    for layer in range(2):
        fused = quantize(state[f"blocks.{layer}.attn.qkv.weight"], grid)
        cut = [quantize(translated[f"encoder.layer.{layer}.attention.attention.{p}.weight"], grid) for p in parts]
        assert torch.equal(fused.codes, torch.cat([each.codes for each in cut]))
        assert torch.equal(fused.scale, torch.cat([each.scale for each in cut]))


def test_codes_of_folded_layers_are_those_before_up_to_the_sign_of_the_row():
    state, _, _ = fixture("timm_deit3")
    translated, grid = translate(state, "deit3", heads=2).tensors, Grid.parse("int3-channel-absmax")
    for theirs, ours in (("attn.proj", "attention.output.dense"), ("mlp.fc2", "output.dense")):
        gain = state[f"blocks.1.{'ls1' if theirs == 'attn.proj' else 'ls2'}.gamma"]
        before = quantize(state[f"blocks.1.{theirs}.weight"], grid).codes.int() + grid.qmin
        after = quantize(translated[f"encoder.layer.1.{ours}.weight"], grid).codes.int() + grid.qmin
        assert torch.equal(before * gain.sign().int()[:, None], after)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("timm_vit_registers", "reg_token belongs to register tokens"),
        ("timm_vit_pre_norm", "norm_pre.bias belongs to a norm before the first block"),
        ("timm_vit_average", "fc_norm.bias belongs to a norm after pooling"),
    ],
)
def test_what_transformers_has_no_place_for_is_named(name, found):
    state, _, _ = fixture(name)
    with pytest.raises(MisfitError, match=found):
        translate(dict(sorted(state.items())), name, heads=1)


def without(state, name):
    return {key: tensor for key, tensor in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: without(s, "blocks.1.mlp.fc1.weight"), r"lacks encoder\.layer\.1\.intermediate\.dense\.weight"),
        (lambda s: s | {"blocks.1.mlp.gate.weight": torch.zeros(2)}, r"no translation .*blocks\.1\.mlp\.gate\.weight"),
        (lambda s: s | {"norm.bias": torch.zeros(3)}, r"layernorm\.bias has shape \(3,\), expected \(32,\)"),
        (lambda s: s | {"blocks.0.attn.qkv.bias": torch.zeros(95)}, "expected the rows of 3 tensors of one size"),
        (lambda s: s | {"pos_embed": torch.zeros(1, 12, 32)}, "11 position embeddings"),
        (lambda s: without(s, "pos_embed"), "of no architecture that can be translated"),
        (lambda s: {"layer1.conv.weight": torch.zeros(1)}, "of no architecture that can be translated"),
        (lambda s: s | {"cls_token": torch.zeros(())}, r"cls_token has shape \(\)"),
        (lambda s: s | {"patch_embed.proj.weight": torch.zeros(32, 3, 4, 2)}, "square"),
    ],
)
def test_tensors_that_are_missing_strange_or_misshapen_are_named(change, message):
    state, _, _ = fixture("timm_vit")
    with pytest.raises(MisfitError, match=message):
        translate(change(state), "changed", heads=2)


@pytest.mark.parametrize(("heads", "message"), [(None, "cannot be told"), (5, "5 does not divide it")])
def test_a_number_of_heads_that_is_not_known_is_asked_for(heads, message):
    state, _, _ = fixture("timm_vit")
    with pytest.raises(MisfitError, match=message):
        translate(state, "vit", heads=heads)
