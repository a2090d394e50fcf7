"""The lines of a report: each one way of treating receivers, measured on one base and grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ...grid.grid import Grid
from ...results.pairing import Untreated
from ...results.row import Row
from ..context import Context
from ..methods import proxied
from ..stats.protocol import Protocol, group
from ..stats.summary import Summary, summarise
from ..stats.transfer import Transfer, ceilings, transfers

__all__ = ["KINDS", "Line", "Measured", "donor_lines", "measured"]

# Kinds of lines in the order of a table, each with the data of the receiver's task that it needs.
KINDS = {
    "unquantized": "none",
    "plain rounding": "none",
    "proxy images": "none",
    "vector": "none",
    "vector, chosen scale": "validation images",
    "control": "none",
    "own training": "training set",
    "calibrated": "images",
}
PLAIN = {"fp": "unquantized", "ptq": "plain rounding"}


@dataclass(frozen=True)
class Line:
    """Receivers of a base that were treated alike, each beside plain rounding to `grid`.

    Attributes:
        protocol: how they were treated; its grid is another one for plain rounding to another grid.
        grid: name of the grid that gains are counted on.
        method: name for tables.
    """

    protocol: Protocol
    grid: str
    method: str
    transfers: tuple[Transfer, ...]

    @property
    def base(self) -> str:
        """Name of the base."""
        return self.protocol.base

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        how = self.protocol
        if how.method in PLAIN:
            return PLAIN[how.method]
        if how.control is not None:
            return "control"
        if how.own:
            return "own training"
        if proxied(how.method) and how.donors == "none":
            return "proxy images"
        if how.method != "qvec" and not proxied(how.method):
            return "calibrated"  # as is every method of another name: see `Row`
        return "vector, chosen scale" if how.scale_policy == "validation" else "vector"

    @property
    def needs(self) -> str:
        """The data of the receiver's task that the method needs, ``"none"`` for a zero-shot one."""
        return KINDS[self.kind]

    @property
    def other_grid(self) -> bool:
        """Whether this is plain rounding to another grid."""
        return self.protocol.grid not in ("", self.grid)

    @property
    def is_rtn(self) -> bool:
        """Whether this is the plain rounding that gains are counted from, which has no gain itself."""
        return self.kind == "plain rounding" and not self.other_grid

    @property
    def treatment(self) -> tuple[Any, ...] | None:
        """Identifies what was added to the receivers, at any scale; None if nothing was."""
        how = self.protocol
        if how.donors == "none":
            return None
        return how.donors == "merged", how.method, how.own, how.merge or "", how.control or ""

    @property
    def is_own_vector(self) -> bool:
        """Whether vectors of the receivers' own tasks were added: a ceiling."""
        return self.treatment is not None and self.kind == "own training"

    @property
    def by_hand(self) -> bool:
        """Whether the scale was set by hand: a point of a curve."""
        return self.protocol.scale is not None

    @property
    def scale(self) -> float | None:
        """The scale that all transfers share; None without a vector, or if each has its own."""
        return 1.0 if self.protocol.scale_policy == "unit" else self.protocol.scale

    @cached_property
    def summary(self) -> Summary:
        """Statistics of the transfers."""
        return summarise(self.transfers)


@dataclass(frozen=True)
class Measured:
    """All lines of a report, in the order of its tables.

    unused: number of rows in no line: repeated measurements, or without plain rounding beside them.
    """

    lines: tuple[Line, ...]
    unused: int

    @property
    def settings(self) -> list[tuple[str, str]]:
        """Pairs of base and grid that have lines."""
        return list(dict.fromkeys((line.base, line.grid) for line in self.lines))

    def of(self, base: str, grid: str) -> list[Line]:
        """All lines of a base and grid."""
        return [line for line in self.lines if (line.base, line.grid) == (base, grid)]

    def main(self, base: str, grid: str) -> list[Line]:
        """The lines of the main table.

        Left out are vectors of own tasks, and scales set by hand if a policy chose a scale for the same treatment.
        """
        lines = [line for line in self.of(base, grid) if not line.is_own_vector]
        named = {line.treatment for line in lines if line.protocol.scale_policy}
        return [line for line in lines if line.treatment is None or not line.by_hand or line.treatment not in named]

    def single(self, base: str, grid: str) -> Line | None:
        """The line that represents single donors: at scale 1, else recommended, else of most transfers."""
        lines = [
            line
            for line in self.of(base, grid)
            if line.kind == "vector" and (line.protocol.donors, line.protocol.method) == ("one", "qvec")
        ]
        preferred = {"unit": 2, "recommended": 1}
        return max(
            lines,
            key=lambda line: (preferred.get(line.protocol.scale_policy or "", 0), len(line.transfers)),
            default=None,
        )


def measured(rows: Sequence[Row], context: Context) -> Measured:
    """Group rows into lines; of rows that repeat a measurement the last one counts."""
    together = group([*transfers(rows, context), *ceilings(rows, context)])
    treated = [Line(protocol, protocol.grid, protocol.label, tuple(part)) for protocol, part in together.items()]
    lines = sorted([*_of_note(_untreated(Untreated(rows), context), treated), *treated], key=_order)
    used = {id(transfer.row) for line in lines for transfer in line.transfers}
    return Measured(tuple(lines), sum(id(row) not in used for row in rows))


def donor_lines(found: Measured) -> list[Line]:
    """Make a line for each single donor: its part of the line that represents all of them."""
    lines = []
    for base, grid in found.settings:
        single = found.single(base, grid)
        if single is None:
            continue
        parts: dict[str, list[Transfer]] = {}
        for transfer in single.transfers:
            parts.setdefault(transfer.donor or "", []).append(transfer)
        lines += [replace(single, method=donor, transfers=tuple(parts[donor])) for donor in sorted(parts)]
    return lines


def _untreated(untreated: Untreated, context: Context) -> Iterable[Line]:
    """For each grid with plain rounding: unquantized models, and plain rounding to all grids of the same bits.

    Grids of more bits are left out: they are always better, which says nothing about a vector.
    """
    parts: dict[tuple[Protocol, str], list[Transfer]] = {}
    for ptq in untreated:
        if ptq.grid is None or ptq.method != "ptq":
            continue
        known, own_qat = context.receiver(ptq), untreated.beside(ptq).get("own_qat")
        for row in untreated.in_setting_of(ptq):
            if row.method == "fp" or (row.method == "ptq" and row.grid and row.grid.bits == ptq.grid.bits):
                transfer = Transfer(row, ptq, known.base, known.task, own_qat=own_qat, kind=known.kind)
                parts.setdefault((Protocol.of(transfer), ptq.grid.name), []).append(transfer)
    for (protocol, grid), part in parts.items():
        yield Line(protocol, grid, f"RTN on {protocol.grid}" if protocol.grid else "FP", tuple(part))


def _of_note(untreated: Iterable[Line], treated: Sequence[Line]) -> Iterable[Line]:
    """Drops lines on grids without treatments if a grid of the same bits has some: that one lists them as well."""
    settings = {(line.base, line.grid) for line in treated}
    widths = {(base, bits_of(grid)) for base, grid in settings}
    for line in untreated:
        if (line.base, line.grid) in settings or (line.base, bits_of(line.grid)) not in widths:
            yield line


def bits_of(grid: str) -> float:
    """Bits of a code, from a grid's name."""
    return Grid.parse(grid).bits


def _order(line: Line) -> tuple[Any, ...]:
    """The order of a table; controls are in the order of their treatments."""
    rank = list(KINDS).index(line.kind)
    treatment = line.treatment or ()
    scale = float("inf") if line.scale is None else line.scale  # chosen scales after those of a curve
    return line.base, line.grid, rank, line.other_grid, treatment, scale, line.method
