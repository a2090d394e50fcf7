"""Trellis and ternary codes written out as one 8-bit code a weight, for formats that know neither."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ..grid.code_levels import code_levels
from ..grid.grid import Grid
from ..grid.packing import pack, unpack
from ..layers.dequantize import named_packed_layers
from ..layers.packed_linear import PackedLinear
from ..layers.packed_weight import Packed

__all__ = ["needs_levels", "with_plain_levels"]


def with_plain_levels(model: Any) -> Any:
    """The model, or where layers are on a trellis or ternary a copy with the same weights on an 8-bit grid."""
    if not any(needs_levels(layer.grid) for layer in named_packed_layers(model).values()):
        return model
    changed = copy.deepcopy(model)
    for name, layer in named_packed_layers(changed).items():
        if needs_levels(layer.grid):
            changed.set_submodule(name, _written_out(layer))
    return changed


def needs_levels(grid: Grid) -> bool:
    """Whether no other format has such codes."""
    return grid.trellis or grid.fan == 3


def _written_out(layer: PackedLinear) -> PackedLinear:
    size, grid = (layer.out_features, layer.in_features), replace(layer.grid, bits=8, range="absmax")
    codes = unpack(layer.weight_packed, layer.grid.bits, size[0] * size[1], torch.uint8).view(size)
    stored = (code_levels(codes, layer.grid) - grid.qmin).to(torch.uint8)
    weight = nn.Parameter(layer.weight.dequantize(), requires_grad=False)
    plain = PackedLinear.from_linear(layer.to_linear(weight), grid)
    plain.hold(Packed(pack(stored, grid.bits, overwrite=True), layer.weight_scale, None))
    return plain
