"""Which rows repeat a measurement, so that only the last of them counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...results.pairing import setting
from ...results.row import Row

__all__ = ["fixed_scale", "latest", "measurement"]


def latest(rows: Iterable[Row]) -> list[Row]:
    """Keep the last of the rows that repeat a measurement, in an order that does not depend on theirs."""
    last = {measurement(row): row for row in rows}
    return [last[measured] for measured in sorted(last, key=repr)]


def measurement(row: Row) -> tuple[Any, ...]:
    """The key that two rows share if one repeats the other's measurement.

    A row with another revision of a donor, another device or another library repeats a measurement; one with another
    revision of the receiver or the dataset does not.
    """
    donors = tuple(sorted((donor.repo, donor.weight) for donor in row.donors))
    return setting(row), row.grid, row.method, donors, row.merge, fixed_scale(row), row.control


def fixed_scale(row: Row) -> tuple[str | None, float | None]:
    """The policy of a row's scale, and the scale itself if it was set by hand.

    A scale of 1 set by hand counts as the unit scale. A scale that a policy chose is a result, not a setting, and is
    left out.
    """
    policy = "unit" if row.scale == 1 and row.scale_policy is None else row.scale_policy
    return policy, row.scale if policy is None else None
