"""Rows in the form the leaderboard embeds: an array for each column, and each text once.

13,000 rows take tens of megabytes as JSON objects, and less than one in this form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any

from ...results.row import Row
from ..stats.transfer import MIN_CEILING
from .text import named
from .treatments import Line, Measured

__all__ = ["compact"]

TEXTS = (
    "suite",
    "suite_version",
    "receiver",
    "receiver_revision",
    "dataset",
    "dataset_revision",
    "split",
    "merge",
    "image_backend",
    "device",
)


class _Numbered(dict[Any, int]):
    """Different values in the order of their first use, each with its number."""

    def number(self, value: Any) -> int:
        """The number of a value, which is added if it is new; −1 for None."""
        return -1 if value is None else self.setdefault(value, len(self))


class _Words(_Numbered):
    def number(self, value: Any) -> int:
        return super().number(None if value is None else named(value))


def compact(found: Measured, donors: Sequence[Line]) -> dict[str, Any]:
    """Convert lines and their rows to the JSON values that ``leaderboard.js`` reads.

    Args:
        donors: lines of single donors, which the page shows in a view of their own.

    Returns:
        ``words``: every text once; elsewhere stands its index, or −1 for none. ``rows``: arrays by column, all of one
        length. ``lines``: of each line the indices of its rows (``rows``) and of plain rounding beside each
        (``rtn``), the counts of own training (``own``), and the interval in shares; ``extra`` marks ceilings, and
        scales set by hand of treatments that have a chosen scale too, which the page shows on demand.
        ``donor_sets``, ``versions``: each combination once.
    """
    words, donor_sets, versions = _Words(), _Numbered(), _Numbered()
    rows: dict[int, Row] = {}
    tasks: dict[int, str] = {}
    lines = [line for line in found.lines if not line.other_grid]
    for line in (*lines, *donors):
        for transfer in line.transfers:
            for row in (transfer.row, transfer.ptq):
                rows[id(row)], tasks[id(row)] = row, transfer.task
    main = {id(line) for base, grid in found.settings for line in found.main(base, grid)}
    place = {each: number for number, each in enumerate(rows)}

    def packed(line: Line, is_donor: bool) -> dict[str, Any]:
        return {
            **{name: words.number(getattr(line, name)) for name in ("base", "grid", "kind", "method", "needs")},
            "donor": is_donor,
            "extra": not is_donor and id(line) not in main,
            "plain": line.is_rtn,
            "rows": [place[id(transfer.row)] for transfer in line.transfers],
            "rtn": [place[id(transfer.ptq)] for transfer in line.transfers],
            "own": [-1 if transfer.own_qat is None else transfer.own_qat.correct for transfer in line.transfers],
            "interval": _interval(line),
        }

    columns: dict[str, Callable[[Row], Any]] = {
        **{name: partial(_text, words, name) for name in TEXTS},
        "task": lambda row: words.number(tasks[id(row)]),
        "policy": lambda row: words.number(row.scale_policy),
        "donors": lambda row: donor_sets.number(_donors(row, words)),
        "versions": lambda row: versions.number(_versions(row, words)),
        "created": lambda row: _seconds(row.created),
        **{name: attrgetter(name) for name in ("scale", "seed", "n", "correct")},
    }
    return {
        "rows": {name: [value(row) for row in rows.values()] for name, value in columns.items()},
        "lines": [packed(line, is_donor) for part, is_donor in ((lines, False), (donors, True)) for line in part],
        "tasks": sorted({words.number(task) for task in tasks.values()}),
        "least_ceiling": float(MIN_CEILING),
        "donor_sets": list(donor_sets),
        "versions": list(versions),
        "words": list(words),
    }


def _text(words: _Words, name: str, row: Row) -> int:
    return words.number(getattr(row, name))


def _interval(line: Line) -> list[float] | None:
    interval = None if line.is_rtn else line.summary.interval
    return None if interval is None else [round(interval.low, 6), round(interval.high, 6)]


def _donors(row: Row, words: _Words) -> tuple[Any, ...] | None:
    return tuple((words.number(d.repo), words.number(d.revision), d.weight) for d in row.donors) or None


def _versions(row: Row, words: _Words) -> tuple[Any, ...]:
    return tuple((words.number(name), words.number(version)) for name, version in sorted(row.versions.items()))


def _seconds(created: str) -> int:
    # Before Python 3.11, fromisoformat does not know the Z that many write for UTC.
    return int(datetime.fromisoformat(re.sub("Z$", "+00:00", created)).timestamp())
