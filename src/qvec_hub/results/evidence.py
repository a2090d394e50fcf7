"""Evidence from benchmark rows about one donor's vector: pairs of counts, with the vector and without."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fractions import Fraction
from statistics import median
from typing import Any

from ..grid.grid import Grid
from .pairing import Untreated, setting
from .row import Row

__all__ = ["Evidence", "Mean", "Pair", "evidence"]

POLICIES = ("unit", "recommended")  # scales that need no data of the receiver; the later one is preferred


@dataclass(frozen=True)
class Pair:
    """One receiver rounded to `grid`, with the donor's vector and without, on the same `n` images.

    Attributes:
        correct: number of correctly predicted images by method: always of ``"qvec"`` and ``"ptq"``, and of all others
            that were counted in the same setting (``"fp"``, ``"own_qat"``, calibrated baselines).
        random: the same for a random vector with the same norms at the same scale; None if not counted.
    """

    receiver: str
    dataset: str
    grid: Grid
    seed: int
    scale: float
    n: int
    correct: dict[str, int]
    random: int | None = None

    @property
    def gain(self) -> float:
        """Accuracy with the vector minus that of plain rounding, from -1 to 1; negative if the vector harms."""
        return float(self.exact_gain(self.correct["qvec"]))

    def exact_gain(self, correct: int) -> Fraction:
        """Gain over plain rounding of a treatment that predicts `correct` images correctly, from -1 to 1."""
        return Fraction(correct - self.correct["ptq"], self.n)


@dataclass(frozen=True)
class Mean:
    """A mean over `n_pairs` pairs."""

    value: float
    n_pairs: int


@dataclass(frozen=True)
class Evidence:
    """Evidence about a donor's vector: at least one pair. All statistics follow from the pairs' counts, as shares."""

    repo: str
    revision: str | None
    pairs: tuple[Pair, ...]

    @property
    def n_pairs(self) -> int:
        return len(self.pairs)

    @property
    def mean_gain(self) -> float:
        return float(sum(self._gains()) / self.n_pairs)

    @property
    def median_gain(self) -> float:
        return float(median(self._gains()))

    @property
    def wins(self) -> int:
        """Pairs with a gain above 0."""
        return sum(gain > 0 for gain in self._gains())

    @property
    def win_rate(self) -> float:
        return self.wins / self.n_pairs

    @property
    def best(self) -> Pair:
        return max(self.pairs, key=lambda pair: pair.gain)

    @property
    def worst(self) -> Pair:
        return min(self.pairs, key=lambda pair: pair.gain)

    @property
    def failures(self) -> list[Pair]:
        """The pairs in which the vector harmed, the worst first."""
        return sorted((pair for pair in self.pairs if pair.gain < 0), key=lambda pair: pair.gain)

    @property
    def control(self) -> Mean | None:
        """Mean gain (-1 to 1) of a random vector over the pairs in which one was counted; None without any."""
        gains = [pair.exact_gain(pair.random) for pair in self.pairs if pair.random is not None]
        return Mean(float(sum(gains) / len(gains)), len(gains)) if gains else None

    @property
    def accuracy(self) -> dict[str, Mean]:
        """By method, the mean accuracy (0 to 1) over the pairs in which it was counted.

        Compare two methods only if both were counted in all pairs, see `Mean.n_pairs`.
        """
        means = {}
        for method in dict.fromkeys(method for pair in self.pairs for method in pair.correct):
            shares = [Fraction(pair.correct[method], pair.n) for pair in self.pairs if method in pair.correct]
            means[method] = Mean(float(sum(shares) / len(shares)), len(shares))
        return means

    def _gains(self) -> list[Fraction]:
        return [pair.exact_gain(pair.correct["qvec"]) for pair in self.pairs]


def evidence(
    rows: Iterable[Row], repo: str, revision: str | None = None, own_tasks: Collection[str] = ()
) -> Evidence | None:
    """Collect what rows say about the vector `repo` used alone, on tasks other than its own.

    A pair is a ``qvec`` row with this donor alone at the recommended scale (or at scale 1 if that was not counted) and
    the ``ptq`` row of the same suite, receiver, images, seed and grid. The last of several equal rows counts.

    Args:
        revision: count only rows of this revision of the vector; by default of any.
        own_tasks: receivers and datasets to leave out; name the donor's own, because on its own task a vector is the
            receiver's own quantization-aware training, a ceiling and not a transfer.

    Returns:
        The evidence, or None when there is no pair.
    """
    rows = [row for row in rows if row.receiver not in own_tasks and row.dataset not in own_tasks]
    untreated = Untreated(rows)
    alone = [row for row in rows if _is_alone(row, repo, revision)]
    controls = {_treatment(row): row.correct for row in alone if row.control == "random"}
    chosen = {
        (setting(row), row.grid): row
        for policy in POLICIES
        for row in alone
        if row.control is None and row.scale_policy == policy
    }
    pairs = []
    for row in chosen.values():
        beside = untreated.beside(row)
        if "ptq" in beside and row.grid is not None and row.scale is not None:
            correct = {method: each.correct for method, each in {"qvec": row, **beside}.items()}
            random = controls.get(_treatment(row))
            pairs.append(Pair(row.receiver, row.dataset, row.grid, row.seed, row.scale, row.n, correct, random))
    return Evidence(repo, revision, tuple(pairs)) if pairs else None


def _treatment(row: Row) -> tuple[Any, ...]:
    """Fields that a control shares with the row it belongs to."""
    return setting(row), row.grid, row.donors, row.scale


def _is_alone(row: Row, repo: str, revision: str | None) -> bool:
    """Whether this vector was added alone and unchanged."""
    if row.method != "qvec" or len(row.donors) != 1:
        return False
    (donor,) = row.donors
    return donor.repo == repo and donor.weight == 1 and revision in (None, donor.revision)
