"""timm's VisionTransformer (ViT, DeiT, DeiT-III, DINOv2 without registers) -> transformers' ViT."""

from __future__ import annotations

import math
from typing import Any

from .registry import LAYOUTS, Layout, Row
from .vit_sizes import vit_config

__all__ = ["TIMM_VIT", "with_class_position"]

_LAYER = "encoder.layer.{i}."


def with_class_position(positions: Any) -> Any:
    """Add a position embedding of zeros for the class token where the model adds none to it (``no_embed_class``).

    Args:
        positions: float ``(1, n, width)``; n is a square number where the class token's is missing.
    """
    n = positions.shape[1]
    if positions.ndim != 3 or math.isqrt(n) ** 2 != n:
        return positions
    import torch

    return torch.cat([torch.zeros_like(positions[:, :1]), positions], dim=1)


TIMM_VIT = LAYOUTS.add(
    Layout(
        name="timm-vit",
        about="timm's VisionTransformer: ViT, DeiT, DeiT-III, DINOv2",
        model_type="vit",
        config=vit_config,
        anchors=("blocks.0.attn.qkv.weight", "patch_embed.proj.weight", "pos_embed"),
        rows=(
            Row("cls_token", ("embeddings.cls_token",)),
            Row("pos_embed", ("embeddings.position_embeddings",), adjust=with_class_position),
            Row("patch_embed.proj.{p}", ("embeddings.patch_embeddings.projection.{p}",)),
            Row("blocks.{i}.norm1.{p}", (_LAYER + "layernorm_before.{p}",)),
            Row(
                "blocks.{i}.attn.qkv.{p}",
                tuple(_LAYER + f"attention.attention.{part}.{{p}}" for part in ("query", "key", "value")),
            ),
            Row("blocks.{i}.attn.proj.{p}", (_LAYER + "attention.output.dense.{p}",), gain="blocks.{i}.ls1.gamma"),
            Row("blocks.{i}.norm2.{p}", (_LAYER + "layernorm_after.{p}",)),
            Row("blocks.{i}.mlp.fc1.{p}", (_LAYER + "intermediate.dense.{p}",)),
            Row("blocks.{i}.mlp.fc2.{p}", (_LAYER + "output.dense.{p}",), gain="blocks.{i}.ls2.gamma"),
            Row("norm.{p}", ("layernorm.{p}",)),
        ),
        head=("head.{p}", "pre_logits.fc.{p}", "head_dist.{p}"),
        ignored=("mask_token",),
        homeless={
            "reg_token": "register tokens",
            "dist_token": "a distillation token",
            "norm_pre.{p}": "a norm before the first block",
            "fc_norm.{p}": "a norm after pooling (the model averages patches instead of reading the class token)",
            "blocks.{i}.attn.q_norm.{p}": "norms of queries and keys",
            "blocks.{i}.attn.k_norm.{p}": "norms of queries and keys",
            "blocks.{i}.attn.norm.{p}": "a norm inside attention",
            "blocks.{i}.mlp.norm.{p}": "a norm inside the MLP",
            "blocks.{i}.attn.gamma_1": "relative positions",
        },
    )
)
