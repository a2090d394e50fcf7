"""The same statistics on parts of the transfers: does what holds for all hold for each?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from ..context import Context
from .summary import Summary, summarise
from .transfer import Transfer

__all__ = ["by_half", "by_seed", "by_similarity", "median_similarity", "similarity"]


def similarity(transfer: Transfer, context: Context) -> float | None:
    """How alike the donor's task and the receiver's look to their base; None where it is not recorded."""
    if transfer.donor_task is None:
        return None
    return context.similarity.get(transfer.base, {}).get(transfer.task, {}).get(transfer.donor_task)


def median_similarity(transfers: Iterable[Transfer], context: Context) -> float | None:
    """Of the transfers whose similarity is recorded; None without any."""
    known = [alike for transfer in transfers if (alike := similarity(transfer, context)) is not None]
    return median(known) if known else None


def by_similarity(
    transfers: Sequence[Transfer], context: Context, threshold: float | None = None
) -> dict[str, Summary]:
    """``"near"`` for transfers between tasks at least as similar as `threshold`, ``"far"`` for the others.

    Args:
        threshold: by default the median of these transfers.

    Returns:
        Only the parts that hold transfers; those whose similarity is not recorded are in neither.
    """
    if threshold is None:
        threshold = median_similarity(transfers, context)
    parts: dict[str, list[Transfer]] = {"near": [], "far": []}
    for transfer in transfers:
        alike = similarity(transfer, context)
        if alike is not None and threshold is not None:
            parts["near" if alike >= threshold else "far"].append(transfer)
    return _summaries(parts)


def by_seed(transfers: Iterable[Transfer]) -> dict[str, Summary]:
    """``"seed 0"`` and so on, ascending."""
    parts: dict[str, list[Transfer]] = {}
    for transfer in sorted(transfers, key=lambda transfer: transfer.row.seed):
        parts.setdefault(f"seed {transfer.row.seed}", []).append(transfer)
    return _summaries(parts)


def by_half(transfers: Sequence[Transfer]) -> dict[str, Summary]:
    """``"first half"`` and ``"second half"`` of the receivers: every other name, so that no result decides."""
    names = sorted({transfer.row.receiver for transfer in transfers})
    first = set(names[::2])
    parts: dict[str, list[Transfer]] = {"first half": [], "second half": []}
    for transfer in transfers:
        parts["first half" if transfer.row.receiver in first else "second half"].append(transfer)
    return _summaries(parts)


def _summaries(parts: dict[str, list[Transfer]]) -> dict[str, Summary]:
    return {label: summarise(part) for label, part in parts.items() if part}
