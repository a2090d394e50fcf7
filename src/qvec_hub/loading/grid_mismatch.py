"""The warning for a vector that is used on another grid than its donor was trained on."""

from __future__ import annotations

from typing import Any

from ..grid.grid import Grid
from ..results.reference import reference_table

__all__ = ["other_grid"]


def other_grid(trained: Grid, used: Grid) -> str:
    """Write the warning, and quote the measured gains on both grids if they were measured.

    They were measured at 2 bits with one scale a row, and are quoted for all grids with the same range rules.
    """
    said = f"the vector was trained on {trained.name} and is used on {used.name}"
    table = reference_table("other_grid")
    across, within = (_gain(table, grid, used) for grid in (trained, used))
    if across is None or within is None or _kind(trained) == _kind(used):
        return f"{said}; what it gains there has not been measured. Take donors of that grid where there are any"
    return (
        f"{said}. On the zoo (2 bits, {table['base']}, {table['receivers']} receivers, mean of the others' "
        f"vectors, plain rounding) vectors from there gained {across:+.1f} points, those trained on the grid itself "
        f"{within:+.1f}; take donors of that grid where there are any"
    )


def _gain(table: dict[str, Any], trained: Grid, used: Grid) -> float | None:
    for entry in table["gains"]:
        if (_kind(Grid.parse(entry["trained"])), _kind(Grid.parse(entry["used"]))) == (_kind(trained), _kind(used)):
            return float(entry["gain"])
    return None


def _kind(grid: Grid) -> tuple[str, bool]:
    return grid.range, grid.symmetric
