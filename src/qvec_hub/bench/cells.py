"""The single measurements of a suite, ordered so that models are loaded as rarely as possible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..grid.grid import Grid
from ..results.row import Row
from .model_store import FINE_TUNE, ReceiverKind, donor_name, receiver_name
from .suite import Measure, Suite

__all__ = ["Cell", "Key", "cells", "key_of_row"]

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Cell:
    """One measurement, which makes one row: a receiver, a method and a grid.

    Attributes:
        receiver: the receiver's task.
        donors: the donors' tasks.
        merge, control: as in `Row`.
        scale: a number, or the name of a scale policy.
    """

    base: str
    seed: int
    receiver: str
    method: str
    grid: Grid | None = None
    donors: tuple[str, ...] = ()
    merge: str | None = None
    scale: float | str | None = None
    control: str | None = None
    kind: ReceiverKind = FINE_TUNE

    @property
    def place(self) -> tuple[str, int, str, ReceiverKind]:
        """The receiver: its base, seed, task and kind."""
        return self.base, self.seed, self.receiver, self.kind

    @property
    def key(self) -> Key:
        """Identifies the cell's row among all rows of its suite."""
        donors = tuple(donor_name(self.base, donor, self.grid) for donor in self.donors if self.grid)
        name = receiver_name(self.base, self.receiver, self.kind)
        return (name, self.seed, self.method, self.grid, donors, self.merge, self.scale, self.control)


def key_of_row(row: Row) -> Key:
    """The key of the cell that a row belongs to."""
    donors = tuple(donor.repo for donor in row.donors)
    scale = row.scale_policy or row.scale
    return (row.receiver, row.seed, row.method, row.grid, donors, row.merge, scale, row.control)


def cells(suite: Suite) -> list[Cell]:
    """List every cell of a suite once, those of one receiver together."""
    receivers = suite.receivers or tuple(task.name for task in suite.tasks)
    found = (
        cell
        for base in suite.bases
        for seed in suite.seeds
        for receiver in receivers
        for kind in suite.kinds
        for measure in suite.measure
        for cell in _of(suite, measure, Cell(base, seed, receiver, measure.method, kind=kind))
    )
    return list(dict.fromkeys(found))


def _of(suite: Suite, measure: Measure, cell: Cell) -> Iterator[Cell]:
    if measure.method == "fp":
        yield cell
        return
    if measure.method == "own_qat" and cell.kind != FINE_TUNE:
        return  # a probe's backbone was not trained, so it has no twin
    for grid in measure.grids or suite.grids:
        if measure.donors is None:
            yield replace(cell, grid=grid)
            continue
        for donors in _donors(suite, measure, cell.receiver):
            own = donors == (cell.receiver,)
            for scale in measure.scales:
                for control in (None, *(() if own else measure.controls)):
                    yield replace(
                        cell, grid=grid, donors=donors, merge=measure.merge, scale=_scale(scale), control=control
                    )


def _donors(suite: Suite, measure: Measure, receiver: str) -> list[tuple[str, ...]]:
    names = suite.donors or tuple(task.name for task in suite.tasks)
    if measure.donors == "each":
        return [(name,) for name in names]
    others = tuple(name for name in names if name != receiver)
    return [others] if others else []


def _scale(scale: float | str) -> float | str:
    """Write scale 1 as ``"unit"``: both are the same measurement."""
    return "unit" if scale == 1 else scale
