"""Resample a ViT's position embeddings to another image size."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import MisfitError

__all__ = ["resample_positions"]


def resample_positions(positions: Tensor, image_size: int, patch_size: int) -> Tensor:
    """Resample position embeddings bicubically, as transformers' DINOv2 and ViT do (``interpolate_pos_encoding``).

    Args:
        positions: float ``(1, 1 + side², width)``, the class token's first.
        image_size, patch_size: in pixels; images are square.

    Returns:
        Float ``(1, 1 + (image_size / patch_size)², width)``; the same tensor if it has that size.

    Raises:
        MisfitError: when the image size is no multiple of the patch size.
    """
    if image_size < patch_size or image_size % patch_size:
        raise MisfitError(f"image size: expected a multiple of the patch size {patch_size}, found {image_size}")
    wanted, side = image_size // patch_size, math.isqrt(positions.shape[1] - 1)
    if wanted == side:
        return positions
    grid = positions[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(grid, size=(wanted, wanted), mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], resized.permute(0, 2, 3, 1).reshape(1, wanted * wanted, -1)], dim=1)
