"""transformers' own DINOv2 -> transformers' ViT, which computes the same once LayerScale is folded in."""

from __future__ import annotations

from .registry import LAYOUTS, Layout, Row
from .vit_sizes import vit_config

__all__ = ["DINOV2"]

_LAYER = "encoder.layer.{i}."

DINOV2 = LAYOUTS.add(
    Layout(
        name="dinov2",
        about="transformers' DINOv2",
        model_type="vit",
        config=vit_config,
        anchors=(
            "encoder.layer.0.layer_scale1.lambda1",
            "embeddings.cls_token",
            "embeddings.position_embeddings",
            "layernorm.weight",
        ),
        rows=(
            *(
                Row(name, (name,))
                for name in (
                    "embeddings.cls_token",
                    "embeddings.position_embeddings",
                    "embeddings.patch_embeddings.projection.{p}",
                    _LAYER + "attention.attention.query.{p}",
                    _LAYER + "attention.attention.key.{p}",
                    _LAYER + "attention.attention.value.{p}",
                    "layernorm.{p}",
                )
            ),
            Row(_LAYER + "norm1.{p}", (_LAYER + "layernorm_before.{p}",)),
            Row(
                _LAYER + "attention.output.dense.{p}",
                (_LAYER + "attention.output.dense.{p}",),
                gain=_LAYER + "layer_scale1.lambda1",
            ),
            Row(_LAYER + "norm2.{p}", (_LAYER + "layernorm_after.{p}",)),
            Row(_LAYER + "mlp.fc1.{p}", (_LAYER + "intermediate.dense.{p}",)),
            Row(_LAYER + "mlp.fc2.{p}", (_LAYER + "output.dense.{p}",), gain=_LAYER + "layer_scale2.lambda1"),
        ),
        head=("classifier.{p}",),
        ignored=("embeddings.mask_token",),
        homeless={
            "embeddings.register_tokens": "register tokens",
            _LAYER + "mlp.weights_in.{p}": "a gated MLP (SwiGLU)",
            _LAYER + "mlp.weights_out.{p}": "a gated MLP (SwiGLU)",
        },
    )
)
