"""open_clip's visual tower -> the vision model of transformers' CLIP."""

from __future__ import annotations

from typing import Any

from ...errors import MisfitError
from .registry import LAYOUTS, Layout, Row, Shapes
from .vit_sizes import heads_of, square

__all__ = ["OPEN_CLIP"]

_THEIRS, _OURS = "transformer.resblocks.{i}.", "encoder.layers.{i}."


def clip_config(shapes: Shapes, heads: int | None) -> Any:
    """A `CLIPVisionConfig`.

    Args:
        shapes: by canonical name.
        heads: number of attention heads; None takes the usual one of this width.

    Raises:
        MisfitError: when the shapes are of no such model.
    """
    from transformers import CLIPVisionConfig

    try:
        width, channels, patch, _ = shapes["embeddings.patch_embedding.weight"]
        positions, inner = (
            shapes["embeddings.position_embedding.weight"][0],
            shapes["encoder.layers.0.mlp.fc1.weight"][0],
        )
    except (KeyError, IndexError, ValueError) as error:
        raise MisfitError(f"the tensors are not those of CLIP: {error} is missing or has other dimensions") from None
    return CLIPVisionConfig(
        hidden_size=width,
        num_hidden_layers=1 + max(int(name.split(".")[2]) for name in shapes if name.startswith("encoder.layers.")),
        num_attention_heads=heads_of(width, heads),
        intermediate_size=inner,
        image_size=patch * square(positions - 1),
        patch_size=patch,
        num_channels=channels,
    )


OPEN_CLIP = LAYOUTS.add(
    Layout(
        name="open_clip",
        about="the visual tower of open_clip's CLIP",
        model_type="clip",
        config=clip_config,
        anchors=("transformer.resblocks.0.attn.in_proj_weight", "class_embedding", "conv1.weight", "ln_post.weight"),
        rows=(
            Row("class_embedding", ("embeddings.class_embedding",)),
            Row("positional_embedding", ("embeddings.position_embedding.weight",)),
            Row("conv1.weight", ("embeddings.patch_embedding.weight",)),
            Row("ln_pre.{p}", ("pre_layrnorm.{p}",)),
            Row(_THEIRS + "ln_1.{p}", (_OURS + "layer_norm1.{p}",)),
            Row(
                _THEIRS + "attn.in_proj_{p}",
                tuple(_OURS + f"self_attn.{part}_proj.{{p}}" for part in ("q", "k", "v")),
            ),
            Row(_THEIRS + "attn.out_proj.{p}", (_OURS + "self_attn.out_proj.{p}",), gain=_THEIRS + "ls_1.gamma"),
            Row(_THEIRS + "ln_2.{p}", (_OURS + "layer_norm2.{p}",)),
            Row(_THEIRS + "mlp.c_fc.{p}", (_OURS + "mlp.fc1.{p}",)),
            Row(_THEIRS + "mlp.c_proj.{p}", (_OURS + "mlp.fc2.{p}",), gain=_THEIRS + "ls_2.gamma"),
            Row("ln_post.{p}", ("post_layernorm.{p}",)),
        ),
        head=("proj",),
        homeless={
            "attn_pool.query": "attentional pooling",
            "conv1.bias": "a bias of the patch embedding",
        },
    )
)
