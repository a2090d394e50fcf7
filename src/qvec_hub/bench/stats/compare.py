"""Two ways to treat the same receivers, side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from statistics import fmean
from typing import Any

from ...errors import DataError
from ...results.evidence import SETTING
from ...results.row import Row
from .bootstrap import Interval, mean_interval
from .measurement import measurement, setting
from .permutation import sign_flip
from .transfer import Transfer

__all__ = ["Comparison", "compare"]

Shares = dict[tuple[Any, ...], dict[str | None, list[Fraction]]]  # setting -> donor -> shares of right predictions
RECEIVER = SETTING.index("receiver")


@dataclass(frozen=True)
class Comparison:
    """Differences in the share of right predictions, the first less the second, over `n_pairs` pairs.

    interval: by `mean_interval`; p: two-sided, by `sign_flip` of whole receivers; each None where there are too few
    of them. wins, losses, ties: pairs above, below and at 0.
    """

    n_pairs: int
    mean_difference: float
    interval: Interval | None
    p: float | None
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True)
class _Difference:
    receiver: str
    donor: str | None
    value: Fraction


def compare(
    a: Iterable[Row | Transfer], b: Iterable[Row | Transfer], resamples: int = 2000, seed: int = 0
) -> Comparison:
    """`a` less `b`, paired on suite, receiver, seed and images; on any grids.

    Where both have single donors in common they are paired on the donor too, by its task if that is recorded
    (transfers know it), else by its name. Otherwise shares are averaged over donors first. Methods without vectors
    compare as rows; compare vectors as transfers, among which none is of the receiver's own task. Of rows that repeat
    a measurement the last one counts.

    Raises:
        DataError: nothing in `a` has a counterpart in `b`.
    """
    differences = _differences(_shares(a), _shares(b))
    if not differences:
        raise DataError(
            "compare: expected two groups with a receiver, seed and images in common, found none; choose groups of "
            "one suite and base"
        )
    values = [float(difference.value) for difference in differences]
    receivers = [difference.receiver for difference in differences]
    donors = [difference.donor for difference in differences if difference.donor is not None]
    totals = dict.fromkeys(receivers, Fraction(0))
    for difference in differences:
        totals[difference.receiver] += difference.value
    return Comparison(
        n_pairs=len(values),
        mean_difference=fmean(values),
        interval=mean_interval(values, receivers, donors or None, resamples, seed),
        p=sign_flip([float(total) for total in totals.values()], seed=seed),
        wins=sum(value > 0 for value in values),
        losses=sum(value < 0 for value in values),
        ties=sum(value == 0 for value in values),
    )


def _shares(group: Iterable[Row | Transfer]) -> Shares:
    items = {measurement(_row(item)): item for item in group}
    shares: Shares = {}
    for item in items.values():
        row = _row(item)
        shares.setdefault(setting(row), {}).setdefault(_donor(item), []).append(Fraction(row.correct, row.n))
    return shares


def _row(item: Row | Transfer) -> Row:
    return item.row if isinstance(item, Transfer) else item


def _donor(item: Row | Transfer) -> str | None:
    if isinstance(item, Transfer):
        return item.donor_task or item.donor
    return item.donors[0].repo if len(item.donors) == 1 else None


def _differences(a: Shares, b: Shares) -> list[_Difference]:
    """One for each setting and donor in both; without a common donor, one for each setting."""
    common = [where for where in a if where in b]
    pairs = [(where, donor) for where in common for donor in a[where] if donor in b[where] and donor is not None]
    if pairs:
        return [
            _Difference(where[RECEIVER], donor, _mean(a[where][donor]) - _mean(b[where][donor]))
            for where, donor in pairs
        ]
    return [
        _Difference(where[RECEIVER], None, _mean(chain(*a[where].values())) - _mean(chain(*b[where].values())))
        for where in common
    ]


def _mean(shares: Iterable[Fraction]) -> Fraction:
    shares = list(shares)
    return sum(shares, Fraction(0)) / len(shares)
