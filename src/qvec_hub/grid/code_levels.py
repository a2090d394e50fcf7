"""Between codes and the levels they stand for, on every kind of grid; a value is a level times its scale."""

from __future__ import annotations

import torch
from torch import Tensor

from .codes import nearest_codes
from .grid import Grid
from .trellis import best_paths, levels_of

__all__ = ["code_levels", "round_columns"]


def code_levels(codes: Tensor, grid: Grid) -> Tensor:
    """The levels of stored codes, uint8 ``(out, in, …)``, float32 in the same shape: ``u + qmin``, or a trellis's."""
    return levels_of(codes, grid.fan) if grid.trellis else codes.float() + float(grid.qmin)


def round_columns(
    wanted: Tensor, scale: Tensor, shift: Tensor | None, grid: Grid, *, codes: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The codes qmin…qmax whose values come nearest to columns of weights, and their levels, both float32.

    Args:
        wanted: float32 ``(columns, rows)``, or one column ``(rows,)``.
        scale, shift: of the same shape.
        codes: memory for the codes.
    """
    if not grid.trellis:
        found = nearest_codes(wanted, scale, shift, grid, out=codes)
        return found, found
    found, levels = best_paths(torch.atleast_2d(wanted), torch.atleast_2d(scale), grid.fan)
    kept = found.view(wanted.shape).float() if codes is None else codes.copy_(found.view(wanted.shape))
    return kept, levels.view(wanted.shape)
