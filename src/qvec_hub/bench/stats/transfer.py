"""Transfers: treated receivers beside plain rounding of the same receiver, from which all statistics are computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from ...results.pairing import Untreated
from ...results.row import WITHOUT_VECTOR, Row
from ..context import UNKNOWN, Context
from ..model_store import FINE_TUNE, ReceiverKind, receiver_label
from .measurement import latest

__all__ = ["MIN_CEILING", "Transfer", "ceilings", "transfers"]

MIN_CEILING = Fraction(2, 100)  # of accuracy; shares of a smaller ceiling would be mostly noise


@dataclass(frozen=True)
class Transfer:
    """One treated receiver and plain rounding of the same receiver to the same grid.

    Attributes:
        row: the treatment: a vector, a control of one, or a calibrated method.
        ptq: plain rounding in the same setting, on the same grid.
        base, task, kind: the receiver's.
        donor: repo of the vector, if it is a single one.
        donor_task: its task, if that is recorded.
        own_qat: the receiver's own quantization-aware training in that setting, if it was counted.
    """

    row: Row
    ptq: Row
    base: str
    task: str
    donor: str | None = None
    donor_task: str | None = None
    own_qat: Row | None = None
    kind: ReceiverKind = FINE_TUNE

    @property
    def receiver(self) -> str:
        """What tells the receiver from others of its base: its task, and its kind unless that is the usual one."""
        return receiver_label(self.task, self.kind)

    @property
    def cluster(self) -> str:
        """What intervals draw together: a probe and a fine-tune of one task and base resemble each other."""
        return self.row.receiver if self.base == UNKNOWN else f"{self.base}, {self.task}"

    @property
    def n(self) -> int:
        return self.row.n

    @property
    def correct(self) -> int:
        return self.row.correct

    @property
    def gain(self) -> float:
        """Accuracy with the treatment minus that of plain rounding, from -1 to 1; negative if it harms."""
        return (self.correct - self.ptq.correct) / self.n

    @property
    def ceiling(self) -> float | None:
        """Gain of the receiver's own quantization-aware training, from -1 to 1; None if that was not counted."""
        return None if self.own_qat is None else (self.own_qat.correct - self.ptq.correct) / self.n

    @property
    def recovery(self) -> float | None:
        """The gain divided by the ceiling; None if the ceiling is below `MIN_CEILING` or unknown."""
        if self.own_qat is None or Fraction(self.own_qat.correct - self.ptq.correct, self.n) < MIN_CEILING:
            return None
        return (self.correct - self.ptq.correct) / (self.own_qat.correct - self.ptq.correct)

    @property
    def is_own(self) -> bool:
        """Whether this is a ceiling: the receiver's own quantization-aware training, or its own task's vector."""
        return self.row.method == "own_qat" or (self.donor is not None and self.donor_task == self.task)


def transfers(rows: Iterable[Row], context: Context) -> list[Transfer]:
    """Find all vectors, controls of vectors and calibrated methods in rows that have plain rounding beside them.

    Vectors of the receiver's own task, merged vectors that contain one, and the controls of both are left out: they
    are no transfers. So is a single vector added with a weight other than 1, because its scale is not the row's.
    Of rows that repeat a measurement the last one counts; otherwise the order of rows does not matter.

    Args:
        context: tells the tasks of receivers and donors.
    """
    return [
        transfer
        for transfer in _beside_ptq(rows, context)
        if transfer.row.method not in WITHOUT_VECTOR and not _uses_own(transfer.row, context)
    ]


def ceilings(rows: Iterable[Row], context: Context) -> list[Transfer]:
    """Find ceilings in rows: own quantization-aware training, and single vectors of the receiver's own task.

    A merged vector that contains one of the receiver's own task is neither a ceiling nor a transfer.
    """
    return [t for t in _beside_ptq(rows, context) if t.is_own and t.row.control is None]


def _beside_ptq(rows: Iterable[Row], context: Context) -> Iterator[Transfer]:
    rows = latest(rows)
    untreated = Untreated(rows)
    for row in rows:
        beside = untreated.beside(row)
        if "ptq" not in beside or row.method in ("fp", "ptq") or _is_part(row):
            continue
        receiver = context.receiver(row)
        donor = row.donors[0].repo if len(row.donors) == 1 else None
        task = None
        if donor is not None:
            task = receiver.task if context.is_own(row, donor) else context.donor_task(donor)
        own_qat = beside.get("own_qat")
        yield Transfer(row, beside["ptq"], receiver.base, receiver.task, donor, task, own_qat, receiver.kind)


def _is_part(row: Row) -> bool:
    return len(row.donors) == 1 and row.merge is None and row.donors[0].weight != 1


def _uses_own(row: Row, context: Context) -> bool:
    return any(context.is_own(row, donor.repo) for donor in row.donors)
