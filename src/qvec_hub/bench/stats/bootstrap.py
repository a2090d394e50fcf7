"""Intervals of a mean over pairs that share receivers and donors.

Pairs of one receiver resemble each other, and so do pairs of one donor: a formula for independent samples would give
intervals far too narrow. Here receivers and donors are drawn with replacement, independently of each other, and a
pair counts as often as its receiver was drawn times as often as its donor was (Owen, *The pigeonhole bootstrap*,
Annals of Applied Statistics 1(2), 2007). Where pairs differ by noise alone, and not by receiver and donor, it is too
wide: such noise counts three times. Where tasks that gain much as receivers also give much as donors, it is too
narrow: the two are drawn independently of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from ...errors import DataError

__all__ = ["Interval", "bootstrap_means", "mean_interval"]

# Receivers or donors. Of simulated 95 % intervals of normal values, 52 % held the truth with two, 80 % with three and
# 90 % with four.
MIN_DRAWN = 4
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, both in shares of right predictions."""

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
    """An interval of the mean of `values`, one of which belongs to each receiver (and donor) of the same place.

    The bootstrap's percentiles, taken further out where receivers or donors are few: by as much as Student's interval
    is wider than the percentiles of a sample of that size (Hesterberg, *What Teachers Should Know About the
    Bootstrap*, The American Statistician 69(4), 2015: the expanded percentile interval).

    Args:
        donors: None to resample receivers alone.
        seed: of the resampling; the same values in any order give the same interval.

    Returns:
        None with two or three receivers or donors: too few to say how others would differ. A single one is held
        fixed and the interval speaks of it alone; None where both are single.

    Raises:
        DataError: no values, or not one receiver (and donor) for each.
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
    """Means of resampled values, at most `resamples` of them: a resample without a single pair is left out.

    Several values of one receiver and donor (seeds) stay together, so their common part is not taken for chance.

    Raises:
        DataError: no values, or not one receiver (and donor) for each.
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
    """Sums and numbers of values, (receivers, donors) in the order of their names."""
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
