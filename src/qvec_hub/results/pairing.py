"""Which rows stand beside each other: one receiver, treated in several ways and shown the same images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .row import Row

__all__ = ["Setting", "Untreated", "setting"]


class Setting(NamedTuple):
    """What two rows must share to be compared: suite, receiver, seed and images."""

    suite: str
    suite_version: str
    receiver: str
    receiver_revision: str | None
    seed: int
    dataset: str
    dataset_revision: str | None
    split: str
    n: int
    image_backend: str  # two backends make different pixels of one image


def setting(row: Row) -> Setting:
    """The setting of a row."""
    return Setting._make(getattr(row, name) for name in Setting._fields)


class Untreated:
    """Rows without a vector, to be looked up beside treated ones; of rows that repeat one the last counts."""

    def __init__(self, rows: Iterable[Row]) -> None:
        kept = {(setting(row), row.grid, row.method): row for row in rows if not row.donors}
        self._rows = list(kept.values())
        self._by_setting: dict[Setting, list[Row]] = {}
        for (where, _, _), row in kept.items():
            self._by_setting.setdefault(where, []).append(row)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def in_setting_of(self, row: Row) -> list[Row]:
        """Rows of the setting of `row`, on any grid."""
        return self._by_setting.get(setting(row), [])

    def beside(self, row: Row) -> dict[str, Row]:
        """Rows of the setting of `row` by method: on its grid, and the unquantized one (``"fp"``)."""
        return {other.method: other for other in self.in_setting_of(row) if other.grid in (row.grid, None)}
