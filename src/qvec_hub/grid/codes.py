"""From weights to integer codes and back, given scales: the one formula that everything on a grid uses."""

from __future__ import annotations

import torch
from torch import Tensor

from .scale_rules.registry import CodeRange

__all__ = ["nearest_codes", "values", "values_"]


def nearest_codes(
    weight: Tensor, scale: Tensor, shift: Tensor | None, grid: CodeRange, out: Tensor | None = None
) -> Tensor:
    """The integer codes qmin…qmax nearest to float32 weights, as float32, in fresh memory or in `out`.

    Args:
        scale, shift: of shapes that broadcast with the weight's.
    """
    if shift is not None:
        weight = torch.add(weight, shift, out=out)
    return torch.div(weight, scale, out=out).round_().clamp_(grid.qmin, grid.qmax)


def values(codes: Tensor, scale: Tensor, shift: Tensor | None) -> Tensor:
    """What codes qmin…qmax stand for, differentiable: ``codes * scale`` or, on an affine grid, less the shift.

    Args:
        codes: floating, of any shape.
        scale, shift: of shapes that broadcast with it.
    """
    products = codes * scale
    return products if shift is None else products - shift


def values_(codes: Tensor, scale: Tensor, shift: Tensor | None) -> Tensor:
    """The same, to the bit, in the memory of the codes."""
    products = codes.mul_(scale)
    return products if shift is None else products.sub_(shift)
