"""The transformers config of a plain ViT, from the shapes of its tensors."""

from __future__ import annotations

import math
from typing import Any

from ...errors import MisfitError
from .registry import Shapes

__all__ = ["heads_of", "square", "vit_config"]

# Attention heads of timm's and Meta's wide models, whose heads are wider than the usual 64 numbers.
_WIDE = {1280: 16, 1408: 16, 1536: 24, 1664: 16}


def vit_config(shapes: Shapes, heads: int | None) -> Any:
    """A `ViTConfig`, with the norms' epsilon of timm and DINOv2 (1e-6).

    Args:
        shapes: by canonical name.
        heads: number of attention heads; None takes the usual one of this width.

    Raises:
        MisfitError: when the shapes contradict each other, or are of no ViT.
    """
    from transformers import ViTConfig

    try:
        width, channels, patch, patch_width = shapes["embeddings.patch_embeddings.projection.weight"]
        positions, inner = (
            shapes["embeddings.position_embeddings"][1],
            shapes["encoder.layer.0.intermediate.dense.weight"][0],
        )
    except (KeyError, IndexError, ValueError) as error:
        raise MisfitError(f"the tensors are not those of a ViT: {error} is missing or has other dimensions") from None
    if patch != patch_width:
        raise MisfitError(f"patches of {patch}×{patch_width} pixels; transformers' ViT has square ones")
    layers = 1 + max(int(name.split(".")[2]) for name in shapes if name.startswith("encoder.layer."))
    return ViTConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads_of(width, heads),
        intermediate_size=inner,
        image_size=patch * square(positions - 1),
        patch_size=patch,
        num_channels=channels,
        layer_norm_eps=1e-6,
        qkv_bias="encoder.layer.0.attention.attention.query.bias" in shapes,
    )


def heads_of(width: int, heads: int | None) -> int:
    """The number of attention heads; weights do not tell it.

    Raises:
        MisfitError: when it does not divide the width, or is not given for an unusual width.
    """
    found = heads or _WIDE.get(width, width // 64 if width % 64 == 0 else 0)
    if not found or width % found:
        raise MisfitError(
            f"the number of attention heads of a model of width {width} cannot be told from its weights"
            + (f", and {heads} does not divide it" if heads else "")
            + "; pass it as heads (--heads)"
        )
    return found


def square(patches: int) -> int:
    """The side of a square of `patches` patches.

    Raises:
        MisfitError: when they form none.
    """
    side = math.isqrt(max(patches, 0))
    if side < 1 or side * side != patches:
        raise MisfitError(f"{patches} position embeddings beside the class token's; expected those of a square image")
    return side
