"""Tiny checkpoints in timm's layout with the 1,000 outputs of ImageNet, and folders of images for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from transformers import ViTForImageClassification

from qvec_hub.bench.anchors.classes import imagenet_classes
from qvec_hub.bench.anchors.suite import AnchorSuite

from ..conftest import tiny_config
from ..interop.timm_names import timm_state

LABELS = [3, 0, 999]  # the classes that the tiny models predict, not in the order of the folders
SYNSETS = [imagenet_classes()[0][label] for label in LABELS]
CFG = {"mean": [0.5] * 3, "std": [0.4] * 3, "crop_pct": 0.9, "interpolation": "bicubic"}
GRIDS = ["int2-channel-mse-affine", "int3-channel-absmax"]
MEASURE = [
    {"method": "fp"},
    {"method": "ptq", "grids": [*GRIDS, "int2-channel-hqq-affine"]},
    {"method": "proxy_tuned", "grids": GRIDS[:1]},
    {"method": "gptq", "grids": GRIDS[:1]},
    {"method": "tuned", "grids": GRIDS[:1]},
]


def timm_files(seed: int, classes: int = 1000) -> dict[str, bytes]:
    """The files of a timm repository: a ViT whose head chooses among three of its outputs."""
    torch.manual_seed(seed)
    model = ViTForImageClassification(tiny_config(hidden_size=64, num_attention_heads=1, num_labels=classes)).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    chosen = [label for label in LABELS if label < classes]
    model.classifier.bias.data[:] = -100
    model.classifier.bias.data[chosen] = 0
    model.classifier.weight.data[chosen] += torch.randn(len(chosen), 64)
    config = {"architecture": "vit_tiny", "num_classes": classes, "global_pool": "token", "pretrained_cfg": CFG}
    return {"config.json": json.dumps(config).encode(), "model.safetensors": save(timm_state(model))}


def timm_folder(folder: Path, seed: int = 0, classes: int = 1000) -> Path:
    folder.mkdir(parents=True)
    for name, content in timm_files(seed, classes).items():
        (folder / name).write_bytes(content)
    return folder


def image_folder(folder: Path, names: Sequence[str] = SYNSETS, splits: Sequence[str] = ("train", "val")) -> Path:
    """Class folders with noise of several sizes, 8 images a class to count and 5 to train with."""
    rng = np.random.default_rng(0)
    for split in splits:
        for name in names:
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(5 if split == "train" else 8):
                pixels = rng.integers(0, 256, (20 + number, 26 - number, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def anchor_suite(models: Sequence[object], dataset: object, **changes: Any) -> AnchorSuite:
    values = {
        "name": "tiny-anchors",
        "version": "1",
        "about": "For tests.",
        "models": [str(model) for model in models],
        "images": {"dataset": str(dataset), "calibration": 7},
        "measure": MEASURE,
    }
    return AnchorSuite.model_validate(values | changes)
