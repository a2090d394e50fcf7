"""Turn packed layers back into float ones."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from .packed_linear import PackedLinear

__all__ = ["dequantize_layers_", "named_packed_layers"]


def named_packed_layers(model: nn.Module) -> dict[str, PackedLinear]:
    """The packed layers of a model, by run-time name."""
    layers = ((name, module) for name, module in model.named_modules() if isinstance(module, PackedLinear))
    return {name: layer for name, layer in layers if layer.frozen}


def dequantize_layers_(model: PreTrainedModel) -> PreTrainedModel:
    """Replace every packed layer by an `nn.Linear` with its grid's float values, in place; logits stay the same."""
    for name, layer in named_packed_layers(model).items():
        weight = nn.Parameter(layer.weight.dequantize(), requires_grad=False)
        model.set_submodule(name, layer.to_linear(weight))
    return model
