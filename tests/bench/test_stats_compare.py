"""Paired comparisons and splits, against plain loops."""

import random
from dataclasses import replace
from itertools import product
from statistics import mean, median

import numpy as np
import pytest
from scipy.stats import bootstrap, norm, t, wilcoxon

from qvec_hub.bench.stats.bootstrap import mean_interval
from qvec_hub.bench.stats.compare import compare
from qvec_hub.bench.stats.protocol import group
from qvec_hub.bench.stats.similarity import by_similarity
from qvec_hub.bench.stats.summary import summarise
from qvec_hub.bench.stats.transfer import Transfer, transfers
from qvec_hub.errors import DataError

from .synthetic import GRIDS, a_row, synthetic


@pytest.fixture(scope="module")
def benchmark():
    rows, context = synthetic(bases=("base-xs",), seeds=(0, 1), seed=4)
    groups = {(p.grid, p.label): part for p, part in group(transfers(rows, context)).items()}
    return rows, context, groups


def plain(rows, method: str, grid: str | None):
    return [row for row in rows if row.method == method and (row.grid and row.grid.name) == grid]


def compare_rows(a, b, **how):
    """Of methods without vectors, whose gains do not matter here."""
    return compare(*([Transfer(row, row, "base", row.receiver) for row in rows] for rows in (a, b)), **how)


def test_two_grids_of_plain_rounding(benchmark) -> None:
    rows, _, _ = benchmark
    a, b = plain(rows, "ptq", GRIDS[1]), plain(rows, "ptq", GRIDS[0])
    found = compare_rows(a, b)
    differences = {(r.receiver, r.seed): r.top1 for r in a}
    for row in b:
        differences[row.receiver, row.seed] -= row.top1
    assert (found.n_pairs, found.wins, found.losses, found.ties) == (12, 12, 0, 0)
    assert found.mean_difference == pytest.approx(mean(differences.values()), abs=1e-12)
    assert found.p == 2 / 2**6  # six receivers, all of them better
    assert found.interval is not None
    assert found.interval.low > 0.2
    assert found.interval.high < 0.3
    back = compare_rows(b, a)
    assert (back.mean_difference, back.p, back.losses) == (-found.mean_difference, found.p, 12)


def test_intervals_and_p_as_scipy_has_them() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0.3, 0.6, (2, 10)).round(3)
    a, b = ([a_row(f"r{i}", "t", "ptq", GRIDS[0], share) for i, share in enumerate(s)] for s in (first, second))
    found = compare_rows(a, b, resamples=40_000)
    tail = norm.cdf(t.ppf(0.025, 9) * (10 / 9) ** 0.5)
    theirs = bootstrap(
        (first - second,), np.mean, n_resamples=40_000, confidence_level=1 - 2 * tail, method="percentile",
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx(
        tuple(theirs.confidence_interval), abs=0.05 * theirs.standard_error
    )
    assert found.p is not None
    # another test of the same hypothesis, on ranks: the same verdict
    assert found.p == pytest.approx(wilcoxon(first - second).pvalue, abs=0.15)


def test_kinds_of_receivers_of_one_task_count_once() -> None:
    """A second kind that repeats the first changes neither the interval nor p."""
    shares = {f"t{i}": (0.5 + 0.01 * i, 0.45 - 0.005 * i) for i in range(6)}

    def found(kinds: tuple[str, ...]):
        sides = (
            [
                Transfer(row := a_row(f"{task}{kind}", task, "ptq", GRIDS[0], pair[side]), row, "base", task)
                for task, pair in shares.items()
                for kind in kinds
            ]
            for side in (0, 1)
        )
        return compare(*sides)

    once, twice = found(("",)), found(("", "-probe"))
    assert (once.n_pairs, twice.n_pairs) == (6, 12)
    assert twice.interval is not None
    assert once.interval is not None
    assert (twice.interval.low, twice.interval.high) == pytest.approx(
        (once.interval.low, once.interval.high), abs=1e-12
    )
    assert twice.p == once.p == 2 / 2**6


def test_single_donors_are_paired_by_donor(benchmark) -> None:
    _, _, groups = benchmark
    treated = groups[GRIDS[0], "one donor, λ = 1"]
    control = groups[GRIDS[0], "random control of one donor, λ = 1"]
    found = compare(treated, control)
    noise = {(c.row.receiver, c.donor, c.row.seed): c.correct for c in control}
    differences = [t.correct - noise[t.row.receiver, t.donor, t.row.seed] for t in treated]
    assert found.n_pairs == len(differences) == 60
    assert found.mean_difference == pytest.approx(mean(differences) / 1000, abs=1e-12)
    assert (found.wins, found.losses) == (sum(d > 0 for d in differences), sum(d < 0 for d in differences))
    assert found.wins + found.losses + found.ties == 60
    assert found == compare(random.Random(0).sample(treated, 60), control[::-1])
    mixed = compare(treated, [replace(c, row=replace(c.row, correct=c.correct + 90)) for c in control])
    totals = {t.row.receiver: 0 for t in treated}
    for treatment, difference in zip(treated, differences, strict=True):
        totals[treatment.row.receiver] += difference - 90
    flipped = np.array(list(product((1, -1), repeat=6))) @ list(totals.values())
    assert mixed.p == np.mean(np.abs(flipped) >= abs(sum(totals.values())))
    assert 0.1 < mixed.p < 1
    names = [t.row.receiver for t in treated], [t.donor_task for t in treated]
    assert found.interval == mean_interval([d / 1000 for d in differences], *names)


def test_donors_of_two_grids_are_paired_by_task(benchmark) -> None:
    _, _, groups = benchmark
    a, b = groups[GRIDS[1], "one donor, λ = 1"], groups[GRIDS[0], "one donor, λ = 1"]
    assert {transfer.donor for transfer in a}.isdisjoint({transfer.donor for transfer in b})
    found = compare(a, b)
    assert found.n_pairs == 60
    other = {(t.task, t.donor_task, t.row.seed): t.correct for t in b}
    differences = [t.correct - other[t.task, t.donor_task, t.row.seed] for t in a]
    assert found.mean_difference == pytest.approx(mean(differences) / 1000, abs=1e-12)


def test_donors_are_averaged_where_the_other_side_has_none(benchmark) -> None:
    _, _, groups = benchmark
    treated, calibrated = groups[GRIDS[0], "one donor, λ = 1"], groups[GRIDS[0], "GPTQ (receiver's images)"]
    found = compare(treated, calibrated)
    differences = []
    for other in calibrated:
        same = [t.correct for t in treated if (t.row.receiver, t.row.seed) == (other.row.receiver, other.row.seed)]
        assert len(same) == 5
        differences.append(mean(same) - other.correct)
    assert (found.n_pairs, found.losses) == (12, 12)
    assert found.mean_difference == pytest.approx(mean(differences) / 1000, abs=1e-12)
    assert found.mean_difference < 0
    merged = compare(groups[GRIDS[0], "mean of others, λ = 1"], treated)
    assert merged.n_pairs == 12


def test_exact_ties_repeats_and_what_has_no_counterpart() -> None:
    a, b = ([a_row(f"r{i}", "t", "ptq", grid, 0.3) for i in range(4)] for grid in GRIDS)
    found = compare_rows(a, b)
    assert (found.ties, found.mean_difference, found.p) == (4, 0, 1)
    repeated = [replace(a[0], correct=999), *a]
    assert compare_rows(repeated, b) == found
    assert compare_rows(a[:1], b).p is None
    assert compare_rows(a[:1], b).interval is None
    assert compare_rows([*a, a_row("alone", "t", "ptq", GRIDS[0], 0.9)], b) == found
    for nothing in ([], [replace(row, seed=5) for row in b], [replace(row, n=5000) for row in b]):
        with pytest.raises(DataError, match="expected two groups with a receiver, seed and images in common"):
            compare_rows(a, nothing)


def test_near_and_far(benchmark) -> None:
    _, context, groups = benchmark
    found = groups[GRIDS[0], "one donor, λ = 1"]
    alike = [context.similarity["base-xs"][t.task][t.donor_task] for t in found]
    split = by_similarity(found, context)
    assert list(split) == ["near", "far"]
    near = [t.gain for t, s in zip(found, alike, strict=True) if s >= median(alike)]
    assert split["near"].n_pairs == len(near)
    assert split["near"].mean == pytest.approx(mean(near), abs=1e-12)
    assert split["far"].n_pairs == 60 - len(near) > 0
    assert by_similarity(found[:1], context) == {"near": summarise(found[:1])}
    assert by_similarity(groups[GRIDS[0], "mean of others, λ = 1"], context) == {}
    assert by_similarity([], context) == {}
