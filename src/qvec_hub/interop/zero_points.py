"""Move a quantized model's zero points onto codes, for formats that store them as integers."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor

from ..grid.packing import pack
from ..layers.dequantize import named_packed_layers
from ..layers.packed_linear import PackedLinear
from ..layers.packed_weight import Packed

__all__ = ["with_integer_zero_points"]

ROUNDS = 4  # of finding codes for a scale, and the scale for these codes


def with_integer_zero_points(model: Any) -> tuple[Any, float]:
    """A copy whose zero points are codes, and the relative error ``‖Ŵ − W‖ / ‖W‖`` that this adds to its weights.

    For each group of weights every code is tried as the zero point, with a least-squares scale, and the result nearest
    to the present weights is taken. Symmetric grids are left alone, as are groups that do not divide the columns.

    Args:
        model: quantized by this package.
    """
    changed = copy.deepcopy(model)
    squares = errors = 0.0
    for layer in named_packed_layers(changed).values():
        if layer.weight_shift is not None and layer.in_features % layer.weight_scale.shape[1] == 0:
            before = layer.weight.dequantize().double()
            _refit_(layer, before.float())
            squares += float(before.square().sum())
            errors += float((layer.weight.dequantize().double() - before).square().sum())
    return changed, math.sqrt(errors / squares) if squares else 0.0


def _refit_(layer: PackedLinear, weight: Tensor) -> None:
    """Round a weight ``(out, in)`` anew with zero points that are codes, and pack it into its layer."""
    shape = layer.weight_scale.shape
    units, start = weight.reshape(shape.numel(), -1), layer.weight_scale.reshape(-1, 1)
    least = torch.full_like(start, torch.inf)
    codes, scale, zero = torch.zeros_like(units), start.clone(), torch.zeros_like(start)
    for point in range(layer.grid.fan):
        found, fitted = _fit(units, start, point, layer.grid.fan - 1)
        error = (units - (found - point) * fitted).square().sum(1, keepdim=True)
        better = error < least
        least = torch.where(better, error, least)
        codes, scale = torch.where(better, found, codes), torch.where(better, fitted, scale)
        zero = torch.where(better, float(point), zero)
    packed = pack(codes.to(torch.uint8).reshape(weight.shape), layer.grid.bits, overwrite=True)
    layer.hold(Packed(packed, scale.view(shape), (zero * scale).view(shape)))


def _fit(units: Tensor, scale: Tensor, zero: int, most: int) -> tuple[Tensor, Tensor]:
    """Codes from 0 to `most` and a scale ``(units, 1)`` for one zero point."""
    for _ in range(ROUNDS):
        codes = (torch.round(units / scale) + zero).clamp_(0, most)
        steps = codes - zero
        norm = steps.square().sum(1, keepdim=True)
        fitted = (steps * units).sum(1, keepdim=True) / norm.clamp_min(1)
        scale = torch.where((norm > 0) & (fitted > 0), fitted, scale)
    return (torch.round(units / scale) + zero).clamp_(0, most), scale
