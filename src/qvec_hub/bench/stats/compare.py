"""Two treatments of the same receivers, compared in pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from statistics import fmean

from ...errors import DataError
from ...results.pairing import Setting, setting
from .bootstrap import Interval, mean_interval
from .measurement import measurement
from .permutation import sign_flip
from .transfer import Transfer

__all__ = ["Comparison", "compare"]

Accuracies = dict[Setting, dict[str | None, list[Fraction]]]  # setting -> donor -> accuracies


@dataclass(frozen=True)
class Comparison:
    """Differences in accuracy, the first minus the second, from -1 to 1, over `n_pairs` pairs.

    Attributes:
        interval: of the mean, by `mean_interval`; None if receivers or donors are too few.
        p: two-sided p-value, by `sign_flip` of whole clusters; None if there is only one.
        wins, losses, ties: numbers of pairs above, below and at 0.
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


def compare(a: Iterable[Transfer], b: Iterable[Transfer], resamples: int = 2000, seed: int = 0) -> Comparison:
    """Compare accuracies of `a` with those of `b`, paired by suite, receiver, seed and images; on any grids.

    If both have single donors in common, pairs share the donor too: its task if that is recorded, else its name.
    Otherwise accuracies are averaged over donors first. Receivers of one task and base count as one in the interval and
    in p (`Transfer.cluster`). Of transfers that repeat a measurement the last one counts.

    Raises:
        DataError: nothing in `a` has a counterpart in `b`.
    """
    a, b = list(a), list(b)
    differences = _differences(_accuracies(a), _accuracies(b))
    if not differences:
        raise DataError(
            "compare: expected two groups with a receiver, seed and images in common, found none; choose groups of "
            "one suite and base"
        )
    values = [float(difference.value) for difference in differences]
    clusters = {transfer.row.receiver: transfer.cluster for transfer in a}
    receivers = [clusters[difference.receiver] for difference in differences]
    donors = [difference.donor for difference in differences if difference.donor is not None]
    totals = dict.fromkeys(receivers, Fraction(0))
    for receiver, difference in zip(receivers, differences, strict=True):
        totals[receiver] += difference.value
    return Comparison(
        n_pairs=len(values),
        mean_difference=fmean(values),
        interval=mean_interval(values, receivers, donors or None, resamples, seed),
        p=sign_flip([float(total) for total in totals.values()], seed=seed),
        wins=sum(value > 0 for value in values),
        losses=sum(value < 0 for value in values),
        ties=sum(value == 0 for value in values),
    )


def _accuracies(group: Iterable[Transfer]) -> Accuracies:
    found: Accuracies = {}
    for transfer in {measurement(transfer.row): transfer for transfer in group}.values():
        by_donor = found.setdefault(setting(transfer.row), {})
        accuracy = Fraction(transfer.correct, transfer.n)
        by_donor.setdefault(transfer.donor_task or transfer.donor, []).append(accuracy)
    return found


def _differences(a: Accuracies, b: Accuracies) -> list[_Difference]:
    """One for each setting and donor in both; without a common donor, one for each setting."""
    common = [where for where in a if where in b]
    pairs = [(where, donor) for where in common for donor in a[where] if donor in b[where] and donor is not None]
    if pairs:
        return [
            _Difference(where.receiver, donor, _mean(a[where][donor]) - _mean(b[where][donor]))
            for where, donor in pairs
        ]
    return [
        _Difference(where.receiver, None, _mean(chain(*a[where].values())) - _mean(chain(*b[where].values())))
        for where in common
    ]


def _mean(values: Iterable[Fraction]) -> Fraction:
    values = list(values)
    return sum(values, Fraction(0)) / len(values)
