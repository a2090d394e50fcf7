"""A tiny random ViT of seven classes, its processor, and images it has never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

CLASSES = 7
IMAGES = 53  # prime: no batch size divides it


@pytest.fixture(scope="session")
def vit() -> ViTForImageClassification:
    return tiny_vit(0)


@pytest.fixture(scope="session")
def other_vit() -> ViTForImageClassification:
    return tiny_vit(1)


@pytest.fixture(scope="session")
def processor() -> ViTImageProcessorPil:
    return ViTImageProcessorPil(size={"height": 16, "width": 16})


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, vit, processor) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    vit.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """``test/CLASS/*.png``, of uneven sizes and in colour or gray."""
    root = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for i in range(IMAGES):
        folder = root / "test" / f"class_{i % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        shape = (16 + i % 5, 16 + i % 3, 3) if i % 4 else (20, 20)
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{i:02}.png")
    return root


def tiny_vit(seed: int) -> ViTForImageClassification:
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=16,
        patch_size=8,
        num_labels=CLASSES,
        initializer_range=0.5,  # large enough for predictions to spread over the classes
        hidden_dropout_prob=0.5,  # counts in training mode would not repeat
    )
    model = ViTForImageClassification(config)
    torch.random.set_rng_state(state)
    return model
