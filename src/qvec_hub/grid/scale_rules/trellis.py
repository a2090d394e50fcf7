"""The root mean square of a unit decides, for the levels of a trellis code."""

from __future__ import annotations

from torch import Tensor

from ..sums import unit_sums
from ..trellis import deviation
from .registry import MIN_SCALE, CodeRange, scale_rule

__all__ = ["trellis"]


@scale_rule("trellis", "the root mean square; levels by a trellis code, ternary, 2 and 3 bits", trellis=True)
def trellis(units: Tensor, grid: CodeRange) -> tuple[Tensor, Tensor | None]:
    """The scale at which a unit's weights have the standard deviation that the table of levels was fitted to."""
    square = unit_sums(units.square()) / units.shape[1]
    return square.sqrt_().clamp_(min=MIN_SCALE).div_(deviation(grid.fan)), None
