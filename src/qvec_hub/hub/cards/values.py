"""Values of an untrusted card: each of the type and size it should have, or None."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ...artifact.schema import MAX_NAME
from ...errors import GridError
from ...grid.grid import Grid
from ...util.untrusted import printable

__all__ = ["as_count", "as_number", "grid_name", "parse_grid", "short_text", "strings"]

MAX_STRINGS = 1000
MAX_COUNT = 2**64
MAX_GRID_NAME = 40


def short_text(value: Any) -> str | None:
    """The value, if it is a short text on one line without control characters; else None."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_NAME and _is_plain(value) else None


def strings(value: Any) -> list[str]:
    """A short text, or a list of them, as a list; other values are left out."""
    values = value[:MAX_STRINGS] if isinstance(value, list) else [value]
    return [text for text in map(short_text, values) if text is not None]


def as_count(value: Any) -> int | None:
    """The value, if it is an integer from 0 to 2⁶⁴; else None."""
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT
    return value if fits else None


def as_number(value: Any) -> float | None:
    """The value as a float, if it is a number of magnitude up to 2⁶⁴; else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if -MAX_COUNT <= value <= MAX_COUNT else None  # NaN is in no interval


def parse_grid(value: Any) -> Grid | None:
    """The grid that a text names; None for another value."""
    return _parsed(value) if isinstance(value, str) and len(value) <= MAX_GRID_NAME else None


def grid_name(value: Any) -> str | None:
    """The full name of the grid that a text, such as ``"int3"``, names; None for another value."""
    grid = parse_grid(value)
    return grid.name if grid else None


@lru_cache(maxsize=10_000)  # thousands of cards name the same receivers, datasets, methods and grids
def _is_plain(text: str) -> bool:
    return printable(text, MAX_NAME) == text


@lru_cache(maxsize=1000)
def _parsed(name: str) -> Grid | None:
    try:
        return Grid.parse(name)
    except GridError:
        return None
