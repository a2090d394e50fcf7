"""The bundled pretrained ViT: where it lies, its architecture and its image processor."""

from __future__ import annotations

from pathlib import Path

from transformers import ViTConfig, ViTImageProcessor

from .canvas import SIZE

__all__ = ["base_config", "base_path", "base_processor"]


def base_path() -> Path:
    """Folder of the bundled base: config, safetensors, image processor and model card, as on the Hub.

    It holds a backbone and no head: ``ViTForImageClassification.from_pretrained(base_path(), num_labels=N)``
    puts a fresh one on, and transformers says so.
    """
    return Path(__file__).parent / "data" / "base-s"


def base_config(labels: int) -> ViTConfig:
    """Architecture of the base: 4 layers of width 96 on 24×24 images in 6×6 patches, 0.46 M parameters."""
    config = ViTConfig(
        hidden_size=96,
        num_hidden_layers=4,
        num_attention_heads=3,
        intermediate_size=384,
        image_size=SIZE,
        patch_size=6,
        initializer_range=0.05,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    config.num_labels = labels
    return config


def base_processor() -> ViTImageProcessor:
    """Pixels to -1 … 1, resized to 24×24."""
    return ViTImageProcessor(
        size={"height": SIZE, "width": SIZE}, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5]
    )
