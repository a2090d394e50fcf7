"""Intervals of a mean over pairs that share receivers and donors.

Pairs of one receiver resemble each other, and so do pairs of one donor: a formula for independent samples would give
intervals far too narrow. The crossed bootstrap draws receivers and donors with replacement, independently of each
other, and weights a pair by the number of times its receiver was drawn times that of its donor (Owen, *The pigeonhole
bootstrap*, Annals of Applied Statistics 1(2), 2007). Its intervals are too wide if pairs differ by noise alone, which
counts three times, and too narrow if tasks that gain much as receivers also give much as donors, because the two are
drawn independently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from ...errors import DataError

__all__ = ["Interval", "bootstrap_means", "mean_interval"]

# Receivers or donors. Of simulated 95 % intervals of normal values, 52 % contained the true mean with two, 80 % with
# three and 90 % with four.
MIN_DRAWN = 4
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An interval from `low` to `high`, in the unit of the values; `level` is its nominal coverage, from 0 to 1."""

    low: float
    high: float
    level: float = 0.95


def mean_interval(
    values: Sequence[float],
    receivers: Sequence[str],
    donors: Sequence[str] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval | None:
    """Estimate a confidence interval of the mean of `values`.

    It is the expanded percentile interval: percentiles of the bootstrap, taken further out by as much as Student's
    interval is wider than the percentiles of a sample of that size (Hesterberg, *What Teachers Should Know About the
    Bootstrap*, The American Statistician 69(4), 2015).

    Args:
        values: one for each pair, in any unit.
        receivers: name of the receiver of each value.
        donors: name of the donor of each value; None resamples receivers alone.
        seed: of the resampling; the same values in any order give the same interval.

    Returns:
        The interval, or None with two or three receivers or donors, too few to say how others would differ. A single
        receiver or donor is held fixed, so that the interval describes it alone; None if both are single.

    Raises:
        DataError: `values` is empty, or the lists differ in length.
    """
    means = bootstrap_means(values, receivers, donors, resamples, seed)
    counts = [len(set(names)) for names in (receivers, donors or ()) if len(set(names)) > 1]
    if not counts or min(counts) < MIN_DRAWN:
        return None
    few = min(counts)
    tail = norm.cdf(t.ppf((1 - level) / 2, few - 1) * np.sqrt(few / (few - 1)))
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high), level)


def bootstrap_means(
    values: Sequence[float],
    receivers: Sequence[str],
    donors: Sequence[str] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Floats:
    """Compute means of resampled values; arguments as in `mean_interval`.

    Several values of one receiver and donor (seeds) stay together, so that what they share is not taken for chance.

    Returns:
        At most `resamples` means, (resamples,): resamples without any pair are left out.

    Raises:
        DataError: `values` is empty, or the lists differ in length.
    """
    donors = [""] * len(receivers) if donors is None else donors
    if not values or len({len(values), len(receivers), len(donors)}) > 1:
        raise DataError(
            f"values: expected some, and a receiver and donor for each, found {len(values)} of {len(receivers)} "
            f"receivers and {len(donors)} donors; pass lists of one length"
        )
    sums, counts = _cells(np.asarray(values, dtype=float), receivers, donors)
    rng = np.random.default_rng(seed)
    drawn_receivers, drawn_donors = (_draws(rng, size, resamples) for size in sums.shape)
    total = ((drawn_receivers @ sums) * drawn_donors).sum(1)
    weight = ((drawn_receivers @ counts) * drawn_donors).sum(1)
    means: Floats = total[weight > 0] / weight[weight > 0]
    return means


def _cells(values: Floats, receivers: Sequence[str], donors: Sequence[str]) -> tuple[Floats, Floats]:
    """Sums and numbers of values, each (receivers, donors) in the order of their names."""
    receiver_names, row = np.unique(receivers, return_inverse=True)
    donor_names, column = np.unique(donors, return_inverse=True)
    sums = np.zeros((len(receiver_names), len(donor_names)))
    counts = np.zeros_like(sums)
    order = np.lexsort((values, column, row))  # sums of floats depend on the order of their terms
    np.add.at(sums, (row[order], column[order]), values[order])
    np.add.at(counts, (row, column), 1)
    return sums, counts


def _draws(rng: np.random.Generator, size: int, resamples: int) -> Floats:
    """How often each of `size` was drawn in each resample, (resamples, size)."""
    return rng.multinomial(size, np.full(size, 1 / size), size=resamples).astype(float)
