"""The lines of a report: everything that was measured on a base and a grid, one way of treating receivers a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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

# What a line is, in the order of a table, and what data of the receiver's task it needs.
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


@dataclass(frozen=True)
class Line:
    """Receivers of a base that were treated alike, each beside plain rounding to `grid`.

    kind: one of `KINDS`. method: for people. protocol: None for what has no vector and no training: unquantized
    models and plain rounding. other_grid: plain rounding to another grid than the line's.
    """

    base: str
    grid: str
    kind: str
    method: str
    transfers: tuple[Transfer, ...]
    protocol: Protocol | None = None
    other_grid: bool = False

    @property
    def needs(self) -> str:
        """What data of the receiver's task it needs."""
        return KINDS[self.kind]

    @property
    def is_rtn(self) -> bool:
        """Whether this is what gains are counted from, so that it has none."""
        return self.kind == "plain rounding" and not self.other_grid

    @property
    def treatment(self) -> tuple[Any, ...] | None:
        """What was added to the receivers, whatever the scale; None if nothing was."""
        how = self.protocol
        if how is None or how.donors == "none":
            return None
        return how.donors == "merged", how.method, how.own, how.merge or "", how.control or ""

    @property
    def is_own_vector(self) -> bool:
        """Whether a vector of the receivers' own tasks was added: a ceiling."""
        return self.treatment is not None and self.kind == "own training"

    @property
    def by_hand(self) -> bool:
        """Whether it has a scale that nothing chose: a point of a curve."""
        return self.protocol is not None and self.protocol.scale is not None

    @property
    def scale(self) -> float | None:
        """The scale that all transfers have; None without a vector, and where each has its own."""
        if self.protocol is None or self.treatment is None:
            return None
        return 1.0 if self.protocol.scale_policy == "unit" else self.protocol.scale

    @cached_property
    def summary(self) -> Summary:
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
        """Bases and grids that lines exist for."""
        return list(dict.fromkeys((line.base, line.grid) for line in self.lines))

    def of(self, base: str, grid: str) -> list[Line]:
        return [line for line in self.lines if (line.base, line.grid) == (base, grid)]

    def main(self, base: str, grid: str) -> list[Line]:
        """Without own tasks' vectors, and without scales set by hand where the same treatment has one of its own."""
        lines = [line for line in self.of(base, grid) if not line.is_own_vector]
        named = {line.treatment for line in lines if line.protocol and line.protocol.scale_policy}
        return [line for line in lines if line.treatment is None or not line.by_hand or line.treatment not in named]

    def single(self, base: str, grid: str) -> Line | None:
        """The line that speaks for single donors: at scale 1, else at the recommended one, else the largest by hand."""
        found = [
            (line.protocol.scale_policy, len(line.transfers), line)
            for line in self.of(base, grid)
            if line.kind == "vector"
            and line.protocol
            and line.protocol.donors == "one"
            and line.protocol.method == "qvec"
        ]
        preferred = {"unit": 2, "recommended": 1}
        return max(found, key=lambda each: (preferred.get(each[0] or "", 0), each[1]), default=(None, 0, None))[2]


def measured(rows: Sequence[Row], context: Context) -> Measured:
    """Sort rows into lines; of rows that repeat a measurement the last one counts."""
    together = group([*transfers(rows, context), *ceilings(rows, context)])
    treated = [_line(protocol, part) for protocol, part in together.items()]
    lines = sorted([*_of_note(_untreated(Untreated(rows), context), treated), *treated], key=_order)
    used = {id(transfer.row) for line in lines for transfer in line.transfers}
    return Measured(tuple(lines), sum(id(row) not in used for row in rows))


def donor_lines(found: Measured) -> list[Line]:
    """A line for each single donor: its part of the line that speaks for all of them."""
    lines = []
    for base, grid in found.settings:
        single = found.single(base, grid)
        parts: dict[str, list[Transfer]] = {}
        for transfer in single.transfers if single else ():
            parts.setdefault(transfer.donor or "", []).append(transfer)
        lines += [Line(base, grid, "vector", donor, tuple(parts[donor])) for donor in sorted(parts)]
    return lines


def _line(protocol: Protocol, part: Iterable[Transfer]) -> Line:
    return Line(protocol.base, protocol.grid, _kind(protocol), protocol.label, tuple(part), protocol)


def _kind(protocol: Protocol) -> str:
    if protocol.control is not None:
        return "control"
    if protocol.own:
        return "own training"
    if proxied(protocol.method) and protocol.donors == "none":
        return "proxy images"
    if protocol.method != "qvec" and not proxied(protocol.method):
        return "calibrated"  # as is every method of another name: see `Row`
    return "vector, chosen scale" if protocol.scale_policy == "validation" else "vector"


def _untreated(untreated: Untreated, context: Context) -> Iterable[Line]:
    """For each grid that plain rounding was counted on: unquantized models, plain rounding to it and to its like.

    Grids are alike that have codes of equal width: more bits are always better, and say nothing about a vector.
    """
    parts: dict[tuple[str, str, str], list[Transfer]] = {}
    for ptq in untreated:
        if ptq.grid is None or ptq.method != "ptq":
            continue
        known, own_qat = context.receiver(ptq), untreated.beside(ptq).get("own_qat")
        for row in untreated.in_setting_of(ptq):
            if row.method == "fp" or (row.method == "ptq" and row.grid and row.grid.bits == ptq.grid.bits):
                key = (known.base, ptq.grid.name, row.grid.name if row.grid else "")
                transfer = Transfer(row, ptq, known.base, known.task, own_qat=own_qat)
                parts.setdefault(key, []).append(transfer)
    for (base, grid, on), part in parts.items():
        kind, method = ("plain rounding", f"RTN on {on}") if on else ("unquantized", "FP")
        yield Line(base, grid, kind, method, tuple(part), other_grid=on not in ("", grid))


def _of_note(untreated: Iterable[Line], treated: Sequence[Line]) -> Iterable[Line]:
    """Those on grids that something was done on; the rest stand there, as plain rounding to another grid."""
    settings = {(line.base, line.grid) for line in treated}
    widths = {(base, bits_of(grid)) for base, grid in settings}
    for line in untreated:
        if (line.base, line.grid) in settings or (line.base, bits_of(line.grid)) not in widths:
            yield line


def bits_of(grid: str) -> int:
    """Width of a code, from a grid's name."""
    return Grid.parse(grid).bits


def _order(line: Line) -> tuple[Any, ...]:
    """As in a table; a treatment's controls stand in its order."""
    rank = list(KINDS).index(line.kind)
    treatment = line.treatment or ()
    scale = float("inf") if line.scale is None else line.scale  # chosen ones after a curve's
    return line.base, line.grid, rank, line.other_grid, treatment, scale, line.method
