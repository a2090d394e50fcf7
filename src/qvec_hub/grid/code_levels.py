"""Between codes and the levels they stand for, on every kind of grid; a value is a level times its scale."""

from __future__ import annotations

from torch import Tensor

from .codes import nearest_codes
from .grid import Grid
from .trellis import best_paths, levels_of

__all__ = ["code_levels", "round_column"]


def code_levels(codes: Tensor, grid: Grid) -> Tensor:
    """The levels of stored codes, uint8 ``(out, in, …)``, float32 in the same shape: ``u + qmin``, or a trellis's."""
    return levels_of(codes, grid.fan) if grid.trellis else codes.float() + float(grid.qmin)


def round_column(wanted: Tensor, scale: Tensor, shift: Tensor | None, grid: Grid, codes: Tensor) -> Tensor:
    """Write the codes qmin…qmax whose values come nearest to a column of weights; return their levels.

    Args:
        wanted, scale, shift: float32 ``(rows,)``.
        codes: memory for the codes, float32 ``(rows,)``.
    """
    if not grid.trellis:
        return nearest_codes(wanted, scale, shift, grid, out=codes)
    found, levels = best_paths(wanted.unsqueeze(0), scale.unsqueeze(0), grid.fan)
    codes.copy_(found[0])
    return levels[0]
