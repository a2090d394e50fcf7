"""The bundled pretrained ViTs: where they lie, their architectures and their image processor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import BaseImageProcessor, ViTConfig

from ..errors import DataError
from .canvas import SIZE

__all__ = ["BASES", "WIDEST", "base_config", "base_path", "base_processor"]

WIDEST = 1.6  # weights of linear layers at most, in root mean squares of their row


@dataclass(frozen=True)
class Scale:
    """A base's sizes (patches of 6×6 pixels, MLPs four times as wide as the layers) and how it is pretrained."""

    width: int
    layers: int
    heads: int
    steps: int

    @property
    def learning_rate(self) -> float:
        """The wider, the lower."""
        return 0.003 * 64 / self.width

    @property
    def parameters(self) -> int:
        """Of the backbone, about: the norms and biases of its layers are left out."""
        return 12 * self.layers * self.width**2 + (3 * 6 * 6 + (SIZE // 6) ** 2 + 1) * self.width


BASES = {
    "base-xs": Scale(width=64, layers=4, heads=2, steps=7000),  # 0.21 M parameters
    "base-s": Scale(width=96, layers=4, heads=3, steps=5000),  # 0.46 M
    "base-m": Scale(width=160, layers=5, heads=5, steps=4000),  # 1.6 M
    "base-l": Scale(width=256, layers=5, heads=8, steps=3000),  # 4.0 M
}


def base_path(name: str = "base-s") -> Path:
    """Folder of a bundled base: config, safetensors, image processor and model card, as on the Hub.

    It holds a backbone and no head: ``ViTForImageClassification.from_pretrained(base_path(), num_labels=N)``
    puts a fresh one on, and transformers says so.

    Raises:
        DataError: no base of that name.
    """
    _scale(name)
    return Path(__file__).parent / "data" / name


def base_config(name: str, labels: int) -> ViTConfig:
    """Architecture of a base, for 24×24 images, with a head of `labels` outputs.

    Raises:
        DataError: no base of that name.
    """
    scale = _scale(name)
    config = ViTConfig(
        hidden_size=scale.width,
        num_hidden_layers=scale.layers,
        num_attention_heads=scale.heads,
        intermediate_size=4 * scale.width,
        image_size=SIZE,
        patch_size=6,
        initializer_range=0.05,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    config.num_labels = labels
    return config


def _scale(name: str) -> Scale:
    if name not in BASES:
        raise DataError(f"zoo: no base named {name!r}; known bases are {', '.join(BASES)}")
    return BASES[name]


def base_processor() -> BaseImageProcessor:
    """Pixels to -1 … 1, resized to 24×24."""
    from transformers import ViTImageProcessor  # warns at once where torchvision is missing, so not for everybody

    return ViTImageProcessor(
        size={"height": SIZE, "width": SIZE}, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5]
    )
