"""Permutation tests: p-values of an association, and of paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations as all_permutations
from math import factorial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import permutation_test, rankdata, spearmanr

from ...errors import DataError
from ..context import Context
from .transfer import Transfer

__all__ = ["Association", "gain_by_similarity", "sign_flip"]

Floats = NDArray[np.float64]
BLOCK = 1 << 20  # similarities looked at together
ROUNDING = 1e-12  # between correlations that are equal but for the order of their sums


@dataclass(frozen=True)
class Association:
    """Spearman's `rho` over `n_pairs` pairs of `n_tasks` tasks, and the two-sided p-value of its permutation test."""

    rho: float
    p: float
    n_pairs: int
    n_tasks: int


def gain_by_similarity(
    transfers: Sequence[Transfer], context: Context, permutations: int = 10_000, seed: int = 0
) -> Association | None:
    """Test whether donors of similar tasks gain more: the Mantel test of Spearman's rank correlation.

    The null hypothesis is that gains do not depend on how similar the donor's and the receiver's tasks are. The test
    permutes the task labels of the similarities, jointly over rows and columns: a permutation π replaces s(i, j) by
    s(π(i), π(j)), so that pairs that share a task stay dependent (Mantel, *The Detection of Disease Clustering and a
    Generalized Regression Approach*, Cancer Research 27(2), 1967). It takes all permutations if there are at most
    `permutations`, else that many random ones, and counts the measured order as one more.

    Args:
        transfers: of single donors and one base; those of one pair of tasks (seeds) are averaged first. Tasks whose
            similarity to any other is not recorded are left out, and so are pairs of a task with itself.

    Returns:
        The association; None with fewer than three tasks, or if all gains or all similarities are equal.

    Raises:
        DataError: the transfers are of several bases.
    """
    bases = {transfer.base for transfer in transfers}
    if len(bases) > 1:
        raise DataError(f"transfers: expected those of one base, found {', '.join(sorted(bases))}; group() tells them")
    if not bases:
        return None
    known = context.similarity.get(bases.pop(), {})
    cells = _cells(transfers)
    tasks = _complete(sorted({task for pair in cells for task in pair}), known)
    pairs = [pair for pair in sorted(cells) if set(pair) <= set(tasks)]
    similarity = np.array([[known[a][b] if a != b else np.nan for b in tasks] for a in tasks])
    gains = np.array([np.mean(cells[pair]) for pair in pairs])
    row, column = (np.array([tasks.index(pair[side]) for pair in pairs], dtype=int) for side in (0, 1))
    if len(tasks) < 3 or np.ptp(gains) == 0 or np.ptp(similarity[row, column]) == 0:
        return None
    rho = float(spearmanr(gains, similarity[row, column]).statistic)
    orders, exact = _orders(len(tasks), permutations, seed)
    blocks = np.array_split(orders, -(-orders.shape[0] * len(pairs) // BLOCK))
    by_chance = np.concatenate([_rank_correlations(gains, similarity[o[:, row], o[:, column]]) for o in blocks])
    extreme = int((np.abs(by_chance) >= abs(rho) - ROUNDING).sum())
    p = extreme / len(orders) if exact else (extreme + 1) / (len(orders) + 1)
    return Association(rho, p, len(pairs), len(tasks))


def sign_flip(
    differences: Sequence[float],
    alternative: Literal["two-sided", "greater"] = "two-sided",
    flips: int = 10_000,
    seed: int = 0,
) -> float | None:
    """Compute the p-value of paired differences by flipping their signs.

    The null hypothesis is that treatment and control are exchangeable at each receiver, so that its difference could
    as well have the other sign. The test takes all 2ⁿ combinations of signs if there are at most `flips` (up to 13
    receivers), else `flips` random ones and the measured one. Donors are held fixed, so the result generalizes to
    other receivers and not to other donors.

    Args:
        differences: one for each receiver, the sum over its pairs; in any unit.

    Returns:
        The p-value, from 0 to 1; None with fewer than two receivers.
    """
    if len(differences) < 2:
        return None
    found = permutation_test(
        (np.sort(differences),),
        lambda values, axis: np.mean(values, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=flips,
        alternative=alternative,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def _cells(transfers: Sequence[Transfer]) -> dict[tuple[str, str], list[float]]:
    """Gains by the receiver's task and the donor's."""
    cells: dict[tuple[str, str], list[float]] = {}
    for transfer in transfers:
        if transfer.donor_task not in (None, transfer.task):
            cells.setdefault((transfer.task, str(transfer.donor_task)), []).append(transfer.gain)
    return cells


def _complete(tasks: list[str], known: dict[str, dict[str, float]]) -> list[str]:
    """Tasks whose similarity to every other one is recorded; drops the least recorded task until that holds."""
    while True:
        missing = {
            a: sum(b not in known.get(a, {}) or a not in known.get(b, {}) for b in tasks if b != a) for a in tasks
        }
        worst = max(tasks, key=lambda task: missing[task], default=None)
        if worst is None or missing[worst] == 0:
            return tasks
        tasks = [task for task in tasks if task != worst]


def _orders(size: int, permutations: int, seed: int) -> tuple[NDArray[np.intp], bool]:
    """Permutations, (permutations, size), and whether they are all there are."""
    if size <= 20 and factorial(size) <= permutations:
        return np.array(list(all_permutations(range(size))), dtype=np.intp), True
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(np.arange(size, dtype=np.intp), (permutations, 1)), axis=1), False


def _rank_correlations(values: Floats, others: Floats) -> Floats:
    """Spearman's correlation of `values`, (n,), with each row of `others`, (m, n)."""
    ranks = rankdata(values) - (len(values) + 1) / 2
    other_ranks = rankdata(others, axis=1) - (len(values) + 1) / 2
    correlations: Floats = other_ranks @ ranks / np.sqrt((ranks**2).sum() * (other_ranks**2).sum(1))
    return correlations
