"""Intervals hold the truth as often as they say, and agree with scipy where scipy has the same bootstrap."""

import random

import numpy as np
import pytest
from scipy.stats import bootstrap, ks_2samp, norm, t

from qvec_hub.bench.stats.bootstrap import Interval, bootstrap_means, mean_interval
from qvec_hub.errors import DataError


def names(letter: str, numbers) -> list[str]:
    return [f"{letter}{number:02}" for number in numbers]


def crossed(rng, size: int, receiver: float, donor: float, noise: float):
    """Values of all pairs but a receiver's own, with mean 0 and an effect of each receiver and donor."""
    table = rng.normal(0, receiver, (size, 1)) + rng.normal(0, donor, (1, size)) + rng.normal(0, noise, (size, size))
    row, column = np.nonzero(~np.eye(size, dtype=bool))
    return table[row, column].tolist(), names("r", row), names("d", column)


@pytest.mark.parametrize(("size", "effects"), [(6, (1, 1, 0.5)), (12, (1, 0.3, 0.3)), (22, (0.5, 1, 0.5))])
def test_intervals_hold_the_truth_where_formulas_for_independent_samples_do_not(size: int, effects) -> None:
    rng = np.random.default_rng(size)
    held = naive = 0
    for trial in range(300):
        values, receivers, donors = crossed(rng, size, *effects)
        interval = mean_interval(values, receivers, donors, 400, trial)
        assert interval is not None
        held += interval.low <= 0 <= interval.high
        half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
        naive += abs(np.mean(values)) <= half
    assert 0.92 <= held / 300 <= 0.985  # nominal 0.95, standard error 0.013
    assert naive / 300 < 0.7


@pytest.mark.parametrize("size", [4, 8, 40])
def test_receivers_alone_as_scipy_does_it(size: int) -> None:
    values = np.random.default_rng(size).gamma(2, size=size)
    tail = norm.cdf(t.ppf(0.025, size - 1) * (size / (size - 1)) ** 0.5)
    assert tail < 0.025  # Student's interval is wider than the percentiles
    theirs = bootstrap(
        (values,), np.mean, n_resamples=40_000, confidence_level=1 - 2 * tail, method="percentile",
        rng=np.random.default_rng(0),
    )  # fmt: skip
    ours = mean_interval(values.tolist(), names("r", range(size)), None, 40_000)
    assert ours is not None
    spread = theirs.standard_error
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.06 * spread)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.06 * spread)
    assert np.std(bootstrap_means(values.tolist(), names("r", range(size)), None, 40_000)) == pytest.approx(
        spread, rel=0.02
    )


def test_resamples_are_drawn_as_indexing_draws_them() -> None:
    """Rows and columns of a table picked by number, each with replacement: the bootstrap as it is described."""
    rng = np.random.default_rng(5)
    table = rng.normal(size=(5, 1)) + rng.normal(size=(1, 7)) + rng.normal(size=(5, 7))
    rows, columns = rng.integers(0, 5, (50_000, 5)), rng.integers(0, 7, (50_000, 7))
    indexed = table[rows[:, :, None], columns[:, None, :]].mean((1, 2))
    row, column = np.indices(table.shape).reshape(2, -1)
    found = bootstrap_means(table.ravel().tolist(), names("r", row), names("d", column), 50_000)
    assert np.std(found) == pytest.approx(np.std(indexed), rel=0.02)
    assert ks_2samp(found, indexed).pvalue > 0.01


def test_seeds_of_a_pair_stay_together() -> None:
    values, receivers, donors = crossed(np.random.default_rng(0), 6, 1, 1, 0.5)
    once = mean_interval(values, receivers, donors)
    thrice = mean_interval(values * 3, receivers * 3, donors * 3)
    assert once is not None
    assert thrice is not None
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high), abs=1e-12)


def test_order_and_seed() -> None:
    values, receivers, donors = crossed(np.random.default_rng(0), 5, 1, 1, 0.5)
    seeds = [value + change for change in (0.1, 0.2, 0.7) for value in values]
    triples = list(zip(seeds, receivers * 3, donors * 3, strict=True))
    expected = mean_interval(seeds, receivers * 3, donors * 3)
    for order in range(5):
        random.Random(order).shuffle(triples)
        assert mean_interval(*map(list, zip(*triples, strict=True))) == expected
    assert mean_interval(values, receivers, donors, seed=1) != mean_interval(values, receivers, donors, seed=2)


def test_a_wider_level_is_wider() -> None:
    values, receivers, donors = crossed(np.random.default_rng(0), 9, 1, 1, 0.5)
    narrow, wide = (mean_interval(values, receivers, donors, level=level) for level in (0.8, 0.99))
    assert isinstance(narrow, Interval)
    assert isinstance(wide, Interval)
    assert wide.low < narrow.low < narrow.high < wide.high
    assert (narrow.level, wide.level) == (0.8, 0.99)


def test_the_fewer_of_receivers_and_donors_decide_how_wide() -> None:
    row, column = np.indices((5, 30)).reshape(2, -1)
    values = np.random.default_rng(0).normal(size=150).tolist()
    sample = values, names("r", row), names("d", column)
    tail = norm.cdf(t.ppf(0.025, 4) * (5 / 4) ** 0.5)
    low, high = np.quantile(bootstrap_means(*sample), [tail, 1 - tail])
    found = mean_interval(*sample)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    swapped = mean_interval(values, sample[2], sample[1])
    assert swapped is not None
    assert (swapped.low, swapped.high) == pytest.approx((low, high), abs=0.3 * (high - low))


def test_a_single_donor_is_held_fixed() -> None:
    values = np.random.default_rng(0).normal(size=8).tolist()
    receivers = names("r", range(8))
    assert mean_interval(values, receivers, ["d"] * 8) == mean_interval(values, receivers)
    by_donor = mean_interval(values, ["r"] * 8, receivers)
    assert by_donor is not None
    assert by_donor.low < np.mean(values) < by_donor.high


@pytest.mark.parametrize(("n_receivers", "n_donors"), [(1, 1), (2, 1), (3, 9), (9, 2), (1, 3)])
def test_too_few_to_say(n_receivers: int, n_donors: int) -> None:
    row, column = np.indices((n_receivers, n_donors)).reshape(2, -1)
    assert mean_interval([0.5] * row.size, names("r", row), names("d", column)) is None


def test_resamples_without_a_pair_are_left_out() -> None:
    found = bootstrap_means([1.0, 2.0, 3.0, 4.0], names("r", range(4)), names("d", range(4)), 1000)
    assert 0 < len(found) < 1000
    assert 1 <= found.min() < found.max() <= 4


def test_lists_of_other_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="values: expected some, and a receiver and donor for each, found 0 of 0"):
        mean_interval([], [])
    with pytest.raises(DataError, match="found 2 of 2 receivers and 1 donors"):
        mean_interval([1.0, 2.0], ["a", "b"], ["c"])
