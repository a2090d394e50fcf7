"""Formatting of names and numbers in a report. Names in rows are untrusted."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from ...hub.cards.markdown import counted, plain, points
from ...util.untrusted import printable
from ..stats.bootstrap import Interval
from ..stats.transfer import Transfer

__all__ = ["between", "code", "file_names", "named", "percent", "sample", "span"]


def named(value: Any) -> str:
    """A name on one line, without control characters for terminals or writing direction."""
    return printable(value, 120)


def code(value: Any) -> str:
    """A name as inline code, in which Markdown, HTML and bare addresses have no effect."""
    return f"`{plain(named(value)) or '?'}`"


def percent(share: float | None) -> str:
    """A share in percent, such as ``"94.0"`` for 0.94; negative shares have a minus sign, None gives a dash."""
    if share is None:
        return "–"
    text = f"{100 * share:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", "−")


def between(interval: Interval | None) -> str:
    """An interval of gains in percentage points, such as ``"+0.4 … +3.1"``; a dash for None."""
    return "–" if interval is None else f"{points(interval.low)} … {points(interval.high)}"


def span(values: Collection[Any], form: str = "{}") -> str:
    """The least and the greatest value, such as ``"600 to 1,000"``, or the one that all are."""
    return " to ".join(form.format(each) for each in dict.fromkeys((min(values), max(values))))


def sample(transfers: Iterable[Transfer]) -> str:
    """The sample behind numbers, such as ``"22 receivers, 21 donors, 600 to 1,000 images per receiver"``."""
    rows = [transfer.row for transfer in transfers]
    donors, seeds = ({use.repo for row in rows for use in row.donors}, {row.seed for row in rows})
    parts = [counted(len({row.receiver for row in rows}), "receiver")]
    parts += [counted(len(donors), "donor")] if donors else []
    parts += [f"{span([row.n for row in rows], '{:,}')} images per receiver"]
    parts += [counted(len(seeds), "seed")] if len(seeds) > 1 else []
    return ", ".join(parts)


def file_names(names: list[str]) -> dict[str, str]:
    """A part of a file name for each name.

    Only lower-case letters, digits, hyphens and underscores; no two are equal, on case-insensitive file systems too.
    """
    files: dict[str, str] = {}
    for name in names:
        stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "x"
        number = 1 + sum(taken == stem or taken.rpartition("_")[0] == stem for taken in files.values())
        files[name] = stem if number == 1 else f"{stem}_{number}"
    return files
