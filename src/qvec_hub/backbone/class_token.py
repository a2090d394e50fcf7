"""A ViT's last layer for the class token alone: a classifier's head reads nothing else of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ViTForImageClassification
from transformers.models.vit.modeling_vit import ViTLayer

__all__ = ["only_class_token"]


@contextmanager
def only_class_token(model: nn.Module) -> Iterator[None]:
    """Have the last layer of a `ViTForImageClassification` skip what its logits do not depend on.

    The other tokens still serve as keys and values; their queries, output projections and MLP are five sixths of the
    layer's work. The logits stay the same but for the last bits. Other models, and ViTs that compute attention
    otherwise than by PyTorch's scaled dot product, are left as they are.
    """
    layer = _last_layer(model)
    if layer is None:
        yield
        return
    vars(layer)["forward"] = partial(_class_token, layer)
    try:
        yield
    finally:
        del vars(layer)["forward"]  # the class's own shows again


def _last_layer(model: nn.Module) -> ViTLayer | None:
    if type(model) is not ViTForImageClassification or model.config._attn_implementation != "sdpa":
        return None
    layer = model.vit.layers[-1]
    return layer if type(layer) is ViTLayer and "forward" not in vars(layer) else None


def _class_token(layer: ViTLayer, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
    """`ViTLayer.forward` in evaluation mode: ``(n, tokens, hidden)`` -> ``(n, 1, hidden)``."""
    attention, first = layer.attention, hidden_states[:, :1]
    normed = layer.layernorm_before(hidden_states)
    inputs = (attention.q_proj, normed[:, :1]), (attention.k_proj, normed), (attention.v_proj, normed)
    query, key, value = (
        module(tokens).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2) for module, tokens in inputs
    )
    mixed = F.scaled_dot_product_attention(query, key, value, scale=attention.scaling)
    after = attention.o_proj(mixed.transpose(1, 2).flatten(2)) + first
    return layer.mlp(layer.layernorm_after(after)) + after
