"""Treated receivers beside plain rounding of the same receiver: what every statistic here is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from ...results.row import WITHOUT_VECTOR, Row
from ..context import Context
from .measurement import latest, setting

__all__ = ["MIN_CEILING", "Transfer", "ceilings", "transfers"]

MIN_CEILING = Fraction(2, 100)  # of right predictions: what own training wins must be clear before shares of it are


@dataclass(frozen=True)
class Transfer:
    """One treated receiver and, of the same receiver, grid, images and seed, plain rounding.

    row: of the treatment: a vector, a control of one, or a calibrated method. base, task: the receiver's.
    donor, donor_task: of a single vector, if it is one; the task if it is recorded.
    ptq, fp, own_qat: images predicted right after plain rounding, unquantized, and by the receiver's own
    quantization-aware training; None where not counted.
    """

    row: Row
    base: str
    task: str
    donor: str | None
    donor_task: str | None
    ptq: int
    fp: int | None = None
    own_qat: int | None = None

    @property
    def n(self) -> int:
        return self.row.n

    @property
    def correct(self) -> int:
        return self.row.correct

    @property
    def gain(self) -> float:
        """What the treatment adds to the share of right predictions; negative where it harms."""
        return (self.correct - self.ptq) / self.n

    @property
    def ceiling(self) -> float | None:
        """What the receiver's own training adds to that share."""
        return None if self.own_qat is None else (self.own_qat - self.ptq) / self.n

    @property
    def recovery(self) -> float | None:
        """The gain as a share of the ceiling; None where the ceiling is below `MIN_CEILING` or unknown."""
        if self.own_qat is None or Fraction(self.own_qat - self.ptq, self.n) < MIN_CEILING:
            return None
        return (self.correct - self.ptq) / (self.own_qat - self.ptq)

    @property
    def is_own(self) -> bool:
        """Whether this is a ceiling: the receiver's own training, or its own task's vector."""
        return self.row.method == "own_qat" or (self.donor is not None and self.donor_task == self.task)


def transfers(rows: Iterable[Row], context: Context) -> list[Transfer]:
    """Every vector, control of a vector and calibrated method in rows, where plain rounding was counted too.

    Left out is what is no transfer: vectors of the receiver's own task, merged ones that contain such a vector,
    and the controls of both. Also a single vector added with a weight other than 1: its scale is not the row's.
    Of rows that repeat a measurement the last one counts; apart from that their order does not matter.
    """
    return [
        transfer
        for transfer in _beside_ptq(rows, context)
        if transfer.row.method not in WITHOUT_VECTOR and not _uses_own(transfer.row, context)
    ]


def ceilings(rows: Iterable[Row], context: Context) -> list[Transfer]:
    """What a transfer can be measured by: own quantization-aware training, and vectors of the receiver's own task.

    A merged vector that contains one of the own task is neither this nor a transfer.
    """
    return [t for t in _beside_ptq(rows, context) if t.is_own and t.row.control is None]


def _beside_ptq(rows: Iterable[Row], context: Context) -> Iterator[Transfer]:
    rows = latest(rows)
    plain = {(setting(row), row.grid, row.method): row.correct for row in rows if not row.donors}
    for row in rows:
        where = setting(row)
        ptq = plain.get((where, row.grid, "ptq"))
        if ptq is None or row.method in ("fp", "ptq") or _is_part(row):
            continue
        receiver = context.receiver(row)
        donor = row.donors[0].repo if len(row.donors) == 1 else None
        task = None
        if donor is not None:
            task = receiver.task if context.is_own(row, donor) else context.donor_task(donor)
        fp, own_qat = plain.get((where, None, "fp")), plain.get((where, row.grid, "own_qat"))
        yield Transfer(row, receiver.base, receiver.task, donor, task, ptq, fp, own_qat)


def _is_part(row: Row) -> bool:
    return len(row.donors) == 1 and row.merge is None and row.donors[0].weight != 1


def _uses_own(row: Row, context: Context) -> bool:
    return any(context.is_own(row, donor.repo) for donor in row.donors)
