"""Tiny models and image sets: everything here runs in seconds on one core."""

import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification


@pytest.fixture
def tiny_config():
    return ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=16,
        patch_size=8,
        num_labels=3,
    )


@pytest.fixture
def tiny_vit(tiny_config):
    torch.manual_seed(0)
    return ViTForImageClassification(tiny_config)
