"""Which rows repeat a measurement, so that only the last of them counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...results.pairing import setting
from ...results.row import Row

__all__ = ["fixed_scale", "latest", "measurement"]


def latest(rows: Iterable[Row]) -> list[Row]:
    """Of rows that repeat a measurement the last one, in an order that does not depend on theirs."""
    last = {measurement(row): row for row in rows}
    return [last[measured] for measured in sorted(last, key=repr)]


def measurement(row: Row) -> tuple[Any, ...]:
    """What two rows share if one repeats the other.

    Another revision of a donor, another device or library repeats a measurement; another revision of the receiver
    or the dataset does not.
    """
    donors = tuple(sorted((donor.repo, donor.weight) for donor in row.donors))
    return setting(row), row.grid, row.method, donors, row.merge, fixed_scale(row), row.control


def fixed_scale(row: Row) -> tuple[str | None, float | None]:
    """How a row's scale came about, and the scale itself where it was set by hand.

    A scale of 1 is the unit scale, whoever set it. A chosen scale is a result and no part of the question.
    """
    policy = "unit" if row.scale == 1 and row.scale_policy is None else row.scale_policy
    return policy, row.scale if policy is None else None
