"""Permutation tests: against plain enumeration, and right as often as their p-values say."""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from scipy.stats import kstest, spearmanr

from qvec_hub.bench.context import Context
from qvec_hub.bench.stats.permutation import gain_by_similarity, sign_flip
from qvec_hub.bench.stats.transfer import Transfer
from qvec_hub.errors import DataError
from qvec_hub.results.row import DonorUse

from .synthetic import GRIDS, a_row


def of_tables(gains, alike, base: str = "b") -> tuple[list[Transfer], Context]:
    """Transfers of every pair of tasks with these gains; a receiver a row, a donor a column."""
    tasks = [f"task{i:02}" for i in range(len(gains))]
    found = []
    for i, j in permutations(range(len(tasks)), 2):
        use = {"donors": (DonorUse(f"donor{j:02}"),), "scale": 1.0, "scale_policy": "unit"}
        row = a_row(tasks[i], tasks[i], "qvec", GRIDS[0], 0.5 + gains[i][j], n=100_000, **use)
        ptq = a_row(tasks[i], tasks[i], "ptq", GRIDS[0], 0.5, n=100_000)
        found.append(Transfer(row, ptq, base, tasks[i], f"donor{j:02}", tasks[j]))
    similarity = {a: {b: float(alike[i][j]) for j, b in enumerate(tasks)} for i, a in enumerate(tasks)}
    return found, Context(similarity={base: similarity})


def cosines(rng, size: int):
    """Of random vectors that share a direction by more or less: some tasks are like all others, some like none."""
    vectors = rng.normal(size=(size, 30)) + np.outer(rng.exponential(size=size), np.ones(30))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ vectors.T


def test_the_exact_p_of_plain_enumeration() -> None:
    rng = np.random.default_rng(1)
    gains, alike = rng.normal(0, 0.05, (5, 5)), rng.normal(size=(5, 5))  # no test of a cosine's symmetry
    found = gain_by_similarity(*of_tables(gains, alike))
    assert found is not None
    off = ~np.eye(5, dtype=bool)
    measured = np.round(0.5 + gains, 5)[off]
    rhos = [spearmanr(measured, alike[np.ix_(order, order)][off]).statistic for order in permutations(range(5))]
    assert found.rho == pytest.approx(rhos[0], abs=1e-12)
    assert found.p == np.mean(np.abs(rhos) >= abs(rhos[0]) - 1e-9)
    assert 0 < found.p < 1
    assert (found.n_pairs, found.n_tasks) == (20, 5)


def test_p_is_uniform_where_similarity_says_nothing() -> None:
    """Gains with an effect of each receiver and donor: a formula for independent pairs rejects too often."""
    rng = np.random.default_rng(0)
    ps, naive = [], []
    for trial in range(120):
        gains = rng.normal(0, 0.04, (9, 1)) + rng.normal(0, 0.04, (1, 9)) + rng.normal(0, 0.02, (9, 9))
        alike = cosines(rng, 9)
        found = gain_by_similarity(*of_tables(gains, alike), permutations=199, seed=trial)
        assert found is not None
        ps.append(found.p)
        off = ~np.eye(9, dtype=bool)
        naive.append(spearmanr(gains[off], alike[off]).pvalue)
    assert kstest(ps, "uniform").pvalue > 0.01
    assert np.mean(np.array(ps) <= 0.05) <= 0.1
    assert np.mean(np.array(naive) <= 0.05) > 0.15


@pytest.mark.parametrize("sign", [1, -1])
def test_p_is_small_where_gains_follow_similarity(sign: int) -> None:
    rng = np.random.default_rng(2)
    alike = cosines(rng, 10)
    gains = 0.1 * sign * alike + rng.normal(0, 0.02, (10, 1)) + rng.normal(0, 0.02, (10, 10))
    found = gain_by_similarity(*of_tables(gains, alike))
    assert found is not None
    assert found.p < 0.01
    few = gain_by_similarity(*of_tables(gains, alike), permutations=19)
    assert few is not None
    assert few.p == 1 / 20  # the measured order is one of twenty
    assert found.rho * sign > 0.3


def test_gaps_seeds_and_several_donors_of_a_task() -> None:
    rng = np.random.default_rng(3)
    gains, alike = rng.normal(0, 0.05, (5, 5)), cosines(rng, 5)
    whole, context = of_tables(gains, alike)
    expected = gain_by_similarity(whole, context)
    assert expected is not None
    assert gain_by_similarity(whole[::-1] * 2, context) == expected
    first = whole[0]
    own = [replace(first, donor="own", donor_task=first.task)]
    unknown = [replace(first, donor="unrelated", donor_task=None)]
    merged = [replace(first, donor=None, donor_task=None)]
    assert gain_by_similarity(whole + own + unknown + merged, context) == expected
    part = gain_by_similarity(whole[:12], context)  # three receivers, each with all four donors
    assert part is not None
    assert (part.n_pairs, part.n_tasks) == (12, 5)
    lacking = {a: {b: v for b, v in of.items() if "task04" not in (a, b)} for a, of in context.similarity["b"].items()}
    without = gain_by_similarity(whole, Context(similarity={"b": lacking}))
    small = [transfer for transfer in whole if "task04" not in (transfer.task, transfer.donor_task)]
    assert without == gain_by_similarity(small, context)
    assert without is not None
    assert (without.n_pairs, without.n_tasks) == (12, 4)


def test_where_similarity_can_say_nothing() -> None:
    gains = np.random.default_rng(0).normal(0, 0.05, (4, 4))
    transfers, context = of_tables(gains, np.ones((4, 4)))
    assert gain_by_similarity(transfers, context) is None
    assert gain_by_similarity(*of_tables(np.zeros((4, 4)), gains)) is None
    assert gain_by_similarity(*of_tables(gains[:2, :2], gains)) is None
    assert gain_by_similarity(transfers, Context()) is None
    assert gain_by_similarity([], context) is None
    other, _ = of_tables(gains, gains, base="c")
    with pytest.raises(DataError, match="expected those of one base, found b, c"):
        gain_by_similarity(transfers + other, context)


@pytest.mark.parametrize(
    ("differences", "alternative", "p"),
    [
        ([1.0, 2.0, 3.0], "greater", 1 / 8),
        ([1.0, 2.0, 3.0], "two-sided", 2 / 8),
        ([-1.0, 2.0, 3.0], "greater", 2 / 8),  # -1+2+3 and 1+2+3
        ([-1.0, 1.0], "greater", 3 / 4),  # 0, 0 and 2 of -2, 0, 0, 2
        ([1.0, -2.0, -3.0], "greater", 7 / 8),
        ([0.0, 0.0], "two-sided", 1.0),
        ([0.5] * 6, "two-sided", 2 / 64),
    ],
)
def test_sign_flips_by_hand(differences: list[float], alternative: str, p: float) -> None:
    assert sign_flip(differences, alternative) == pytest.approx(p, abs=1e-12)


def test_sign_flips_by_enumeration_and_by_chance() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, 12)
    means = [np.mean(values * signs) for signs in product((1, -1), repeat=12)]
    exact = np.mean(np.array(means) >= np.mean(values) - 1e-12)
    assert sign_flip(values.tolist(), "greater") == pytest.approx(exact, abs=1e-12)
    assert sign_flip(values.tolist()[::-1], "greater") == pytest.approx(exact, abs=1e-12)
    random = sign_flip(values.tolist(), "greater", flips=4000)
    assert random != exact
    assert sign_flip(values.tolist()[::-1], "greater", flips=4000) == random
    assert random == pytest.approx(exact, abs=4 * (exact / 4000) ** 0.5)


def test_one_receiver_proves_nothing() -> None:
    assert sign_flip([0.9]) is None
    assert sign_flip([]) is None
