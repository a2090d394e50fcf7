"""A float copy of a quantized model that knows nothing of this package."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ...loading.dequantize import dequantize_

__all__ = ["Logits", "example_images", "plain_copy"]


def plain_copy(model: Any) -> Any:
    """A copy with float weights, transformers' own methods and no quantization in its config, in evaluation mode."""
    copied = dequantize_(copy.deepcopy(model)).eval()
    vars(copied).pop("save_pretrained", None)  # which also writes the image processor
    return copied


class Logits(nn.Module):
    """A classifier that returns logits ``(n, classes)`` alone, as graph exporters want it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.model(pixel_values=pixel_values).logits


def example_images(model: Any) -> Tensor:
    """Two images of noise in the size that the model takes, float ``(2, channels, height, width)``."""
    size = model.config.image_size
    height, width = size if isinstance(size, list | tuple) else (size, size)
    generator = torch.Generator().manual_seed(0)
    parameter = next(model.parameters())
    return torch.randn(2, model.config.num_channels, height, width, generator=generator).to(parameter.dtype)
