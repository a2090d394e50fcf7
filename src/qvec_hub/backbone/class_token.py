"""A ViT's last layer for the class token alone: a classifier's head reads nothing else of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ViTForImageClassification
from transformers.models.vit.modeling_vit import ViTAttention, ViTLayer

__all__ = ["attended", "only_class_token", "reads_class_token_only"]


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


def reads_class_token_only(layer: nn.Module) -> bool:
    """Whether a layer is one that `only_class_token` has changed."""
    forward = vars(layer).get("forward")
    return isinstance(forward, partial) and forward.func is _class_token


def attended(attention: ViTAttention, queries: Tensor, tokens: Tensor) -> Tensor:
    """What the output projection takes for queries ``(n, queries, hidden)`` among ``(n, tokens, hidden)``."""
    inputs = (attention.q_proj, queries), (attention.k_proj, tokens), (attention.v_proj, tokens)
    query, key, value = (
        module(each).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2) for module, each in inputs
    )
    mixed = F.scaled_dot_product_attention(query, key, value, scale=attention.scaling)
    return mixed.transpose(1, 2).flatten(2)


def _class_token(layer: ViTLayer, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
    """`ViTLayer.forward` in evaluation mode: ``(n, tokens, hidden)`` -> ``(n, 1, hidden)``."""
    normed = layer.layernorm_before(hidden_states)
    after = layer.attention.o_proj(attended(layer.attention, normed[:, :1], normed)) + hidden_states[:, :1]
    return layer.mlp(layer.layernorm_after(after)) + after
