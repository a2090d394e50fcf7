"""Proxy images have the pixel values that the checkpoint's own image processor makes of the same images."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, ViTForImageClassification

from qvec_hub.backbone.processor import keep_processor_, processor_of
from qvec_hub.proxies.draw import proxy_images
from qvec_hub.proxies.model_inputs import proxy_pixels

from ..conftest import tiny_config

SIZE = {"size": {"height": 16, "width": 16}}
LARGER = {"size": {"shortest_edge": 18}, "crop_size": {"height": 16, "width": 16}}
PER_CHANNEL = {"image_mean": [0.1, 0.4, 0.7], "image_std": [0.2, 0.5, 0.9]}
CONFIGS = {
    "plain": {"do_normalize": False},
    "raw": {"do_rescale": False, "do_normalize": False},
    "levels": {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3},
    "factor": {"rescale_factor": 1 / 127.5, "do_normalize": False},
    "channels": PER_CHANNEL,
    "numbers": {"image_mean": 0.3, "image_std": 0.2},
    "beit": {"image_processor_type": "BeitImageProcessor"},
    "crop": {"image_processor_type": "BitImageProcessor", **LARGER, **PER_CHANNEL},
    "deit": {"image_processor_type": "DeiTImageProcessor", "size": {"height": 18, "width": 18}},
    "bgr": {"image_processor_type": "MobileViTImageProcessor", "do_flip_channel_order": True, **LARGER},
    "offset": {"image_processor_type": "EfficientNetImageProcessor", "rescale_offset": True},
    "old": {"image_processor_type": None, "feature_extractor_type": "ViTFeatureExtractor", **PER_CHANNEL},
    "fast": {"image_processor_type": "ViTImageProcessorFast", **PER_CHANNEL},
    "pad": {"image_processor_type": "ViltImageProcessor", **SIZE},
}  # fmt: skip


def folder_with(receiver_folder, config):
    values = {"image_processor_type": "ViTImageProcessor", **SIZE, **config}
    content = {key: value for key, value in values.items() if value is not None}
    (receiver_folder / "preprocessor_config.json").write_text(json.dumps(content))
    return receiver_folder


@pytest.mark.parametrize("name", CONFIGS)
def test_proxies_equal_what_the_real_processor_makes(name, receiver_folder) -> None:
    folder = folder_with(receiver_folder, CONFIGS[name])
    model = ViTForImageClassification.from_pretrained(folder)
    real = AutoImageProcessor.from_pretrained(folder, backend="pil")
    still = {key: False for key in ("do_resize", "do_center_crop", "do_pad") if hasattr(real, key)}
    shown = [Image.fromarray(image) for image in proxy_images(70, 16)]
    expected = real(shown, return_tensors="pt", **still)["pixel_values"].float()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = proxy_pixels(model, 70)
        assert torch.equal(found, expected)
        assert torch.equal(proxy_pixels(model, 3, shipped=torch.tensor(proxy_images(5, 16))), expected[:3])
    assert processor_of(model) is processor_of(model)


@pytest.mark.parametrize(
    ("config", "channels", "expected"),
    [
        ({"image_mean": [0.2], "image_std": [0.4]}, 3, lambda colour, grey: (colour / 255 - 0.2) / 0.4),
        ({"image_mean": [0.2], "image_std": [0.4]}, 1, lambda colour, grey: (grey / 255 - 0.2) / 0.4),
        ({"do_rescale": False, "do_normalize": False}, 1, lambda colour, grey: grey),
    ],
)
def test_processors_of_one_mean_and_models_of_one_channel(config, channels, expected, receiver_folder) -> None:
    model = ViTForImageClassification(tiny_config(num_channels=channels))
    real = AutoImageProcessor.from_pretrained(folder_with(receiver_folder, config), backend="pil")
    keep_processor_(model, real)
    images = proxy_images(4, 16)
    colour = torch.tensor(images).permute(0, 3, 1, 2).float()
    grey = torch.stack([torch.tensor(np.asarray(Image.fromarray(image).convert("L"))) for image in images])[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.allclose(proxy_pixels(model, 4), expected(colour, grey.float()), atol=1e-5)


@pytest.mark.parametrize(
    ("config", "channels"),
    [
        ({"image_mean": [0.5, 0.5], "image_std": [0.5, 0.5]}, 3),
        (PER_CHANNEL, 1),  # which would make three channels
        ({"rescale_factor": "much"}, 3),
        ({"image_std": [0, 0, 0]}, 3),
        ({"image_processor_type": "NoSuchProcessor", "model_type": "none"}, 3),
        ({"image_processor_type": "Own", "auto_map": {"AutoImageProcessor": "code.Own"}}, 3),
    ],
)
def test_a_default_is_taken_only_with_a_word(config, channels, receiver_folder) -> None:
    folder = folder_with(receiver_folder, config)
    model = ViTForImageClassification.from_pretrained(folder)
    keep_processor_(model, processor_of(model) or "none")
    model.config.num_channels = channels
    with pytest.warns(UserWarning, match=r"normalized to values from -1 to 1, the default .*images="):
        pixels = proxy_pixels(model, 3)
    assert pixels.shape == (3, channels, 16, 16)
    assert -1 <= float(pixels.min()) < float(pixels.max()) <= 1
