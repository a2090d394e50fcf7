"""Which linear layers of a block write to its residual stream, and where that stream can be seen."""

from __future__ import annotations

from torch import nn
from transformers.models.vit.modeling_vit import ViTLayer

__all__ = ["residual_streams"]


def residual_streams(block: nn.Module) -> dict[nn.Module, nn.Module]:
    """Linear layer -> the module whose input is what the layer's output is added to.

    Known of transformers' ViT layers, which normalize before attention and MLP; empty for any other block.
    """
    if type(block) is not ViTLayer:
        return {}
    return {block.attention.o_proj: block.layernorm_before, block.mlp.fc2: block.layernorm_after}
