"""timm's Swin Transformer -> transformers' Swin."""

from __future__ import annotations

import re
from typing import Any

from ...errors import MisfitError
from .registry import LAYOUTS, Layout, Row, Shapes
from .vit_sizes import square

__all__ = ["TIMM_SWIN"]

_THEIRS, _OURS = "layers.{i}.blocks.{j}.", "encoder.layers.{i}.blocks.{j}."
_BLOCK = re.compile(r"encoder\.layers\.(\d+)\.blocks\.(\d+)\.")
_TABLE = "encoder.layers.{}.blocks.0.attention.self.relative_position_bias_table"


def swin_config(shapes: Shapes, heads: int | None) -> Any:
    """A `SwinConfig`; the image size is the smallest that the window fits in the last stage, as in timm's models.

    Args:
        shapes: by canonical name.
        heads: not needed, the position tables tell the number of attention heads of each stage.

    Raises:
        MisfitError: when the shapes are of no such model.
    """
    from transformers import SwinConfig

    try:
        width, channels, patch, _ = shapes["embeddings.patch_embeddings.projection.weight"]
        blocks = {found.groups() for name in shapes if (found := _BLOCK.match(name)) is not None}
        stages = 1 + max(int(stage) for stage, _ in blocks)
        tables = [shapes[_TABLE.format(stage)] for stage in range(stages)]
        inner = shapes["encoder.layers.0.blocks.0.intermediate.dense.weight"][0]
    except (KeyError, IndexError, ValueError) as error:
        raise MisfitError(f"the tensors are not those of Swin: {error} is missing or has other dimensions") from None
    window = (square(tables[0][0]) + 1) // 2
    return SwinConfig(
        embed_dim=width,
        depths=[sum(str(stage) == s for s, _ in blocks) for stage in range(stages)],
        num_heads=[table[1] for table in tables],
        window_size=window,
        image_size=patch * 2 ** (stages - 1) * window,
        patch_size=patch,
        num_channels=channels,
        mlp_ratio=inner / width,
    )


TIMM_SWIN = LAYOUTS.add(
    Layout(
        name="timm-swin",
        about="timm's Swin Transformer",
        model_type="swin",
        config=swin_config,
        anchors=(
            "layers.0.blocks.0.attn.qkv.weight",
            "layers.0.blocks.0.attn.relative_position_bias_table",
            "patch_embed.norm.weight",
            "norm.weight",
        ),
        rows=(
            Row("patch_embed.proj.{p}", ("embeddings.patch_embeddings.projection.{p}",)),
            Row("patch_embed.norm.{p}", ("embeddings.norm.{p}",)),
            Row(_THEIRS + "norm1.{p}", (_OURS + "layernorm_before.{p}",)),
            Row(
                _THEIRS + "attn.relative_position_bias_table",
                (_OURS + "attention.self.relative_position_bias_table",),
            ),
            Row(
                _THEIRS + "attn.qkv.{p}",
                tuple(_OURS + f"attention.self.{part}.{{p}}" for part in ("query", "key", "value")),
            ),
            Row(_THEIRS + "attn.proj.{p}", (_OURS + "attention.output.dense.{p}",)),
            Row(_THEIRS + "norm2.{p}", (_OURS + "layernorm_after.{p}",)),
            Row(_THEIRS + "mlp.fc1.{p}", (_OURS + "intermediate.dense.{p}",)),
            Row(_THEIRS + "mlp.fc2.{p}", (_OURS + "output.dense.{p}",)),
            # transformers counts the merging of patches to the stage before it
            Row("layers.{i}.downsample.norm.{p}", ("encoder.layers.{before_i}.downsample.norm.{p}",)),
            Row("layers.{i}.downsample.reduction.weight", ("encoder.layers.{before_i}.downsample.reduction.weight",)),
            Row("norm.{p}", ("layernorm.{p}",)),
        ),
        head=("head.fc.{p}", "head.{p}"),
        ignored=("layers.{i}.blocks.{j}.attn.relative_position_index", "layers.{i}.blocks.{j}.attn_mask"),
        homeless={"layers.0.downsample.norm.{p}": "patch merging as timm named it before version 0.9"},
    )
)
