"""Transfers between similar tasks, and those between dissimilar ones."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from ..context import Context
from .summary import Summary, summarise
from .transfer import Transfer

__all__ = ["by_similarity"]


def by_similarity(transfers: Sequence[Transfer], context: Context) -> dict[str, Summary]:
    """Summarize transfers by the similarity of the donor's task to the receiver's, as the base sees them.

    Returns:
        ``"near"`` for transfers at or above the median similarity of these transfers, ``"far"`` for those below it.
        A part without transfers is left out, and transfers whose similarity is not recorded are in neither.
    """
    known = [(alike, t) for t in transfers if (alike := _similarity(t, context)) is not None]
    middle = median(alike for alike, _ in known) if known else 0.0
    parts = {
        "near": [transfer for alike, transfer in known if alike >= middle],
        "far": [transfer for alike, transfer in known if alike < middle],
    }
    return {label: summarise(part) for label, part in parts.items() if part}


def _similarity(transfer: Transfer, context: Context) -> float | None:
    of_task = context.similarity.get(transfer.base, {}).get(transfer.task, {})
    return None if transfer.donor_task is None else of_task.get(transfer.donor_task)
