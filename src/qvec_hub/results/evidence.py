"""What benchmark rows say about one donor's vector: pairs of counts, with it and without."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fractions import Fraction
from statistics import median
from typing import Any

from ..grid.grid import Grid
from .row import Row

__all__ = ["Evidence", "Mean", "Pair", "evidence"]

POLICIES = ("unit", "recommended")  # scales anybody can use without data of the receiver; the later one is preferred
IMAGES = ("dataset", "dataset_revision", "split", "n", "image_backend")  # the same pixels in the same number
SETTING = ("suite", "suite_version", "receiver", "receiver_revision", "seed", *IMAGES)
Setting = tuple[Any, ...]  # the values of those fields


@dataclass(frozen=True)
class Pair:
    """One receiver rounded to `grid`, with the donor's vector and without, on the same `n` images.

    correct: images predicted right, by method: always ``"qvec"`` and ``"ptq"``, and whatever else was counted in the
    same setting (``"fp"``, ``"own_qat"``, calibrated baselines). random: the same for a random vector of the donor's
    norms at the same scale, or None.
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
        """What the vector adds to the share of right predictions; negative where it harms."""
        return float(self.exact_gain(self.correct["qvec"]))

    def exact_gain(self, correct: int) -> Fraction:
        """The gain of whatever predicted so many images right."""
        return Fraction(correct - self.correct["ptq"], self.n)


@dataclass(frozen=True)
class Mean:
    """A mean over `n_pairs` pairs."""

    value: float
    n_pairs: int


@dataclass(frozen=True)
class Evidence:
    """What is known of a donor's vector: at least one pair, everything else follows from their counts."""

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
        """The mean gain of a random vector, over the pairs in which one was counted; None without any."""
        gains = [pair.exact_gain(pair.random) for pair in self.pairs if pair.random is not None]
        return Mean(float(sum(gains) / len(gains)), len(gains)) if gains else None

    @property
    def accuracy(self) -> dict[str, Mean]:
        """By method, the mean share of right predictions over the pairs in which it was counted.

        Two methods compare only where both were counted in all pairs: look at `Mean.n_pairs`.
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
    """What rows say about the vector `repo` on its own, on other tasks than its own.

    A pair is a ``qvec`` row with this donor alone, whole and at the recommended scale or scale 1 (the recommended
    one, where both were counted), and the ``ptq`` row of the same suite, receiver, images, seed and grid. Of rows
    that repeat a measurement the last one counts.

    Args:
        revision: count only rows of this revision of the vector; by default of any.
        own_tasks: receivers and datasets to leave out. Name the donor's own: at its own task a vector gives
            the receiver its own quantization-aware training back, which is a ceiling and no transfer.

    Returns:
        None when there is no such pair.
    """
    rows = [row for row in rows if row.receiver not in own_tasks and row.dataset not in own_tasks]
    without: dict[Setting, dict[tuple[Grid | None, str], int]] = {}
    for row in rows:
        if not row.donors:
            without.setdefault(_setting(row), {})[row.grid, row.method] = row.correct
    alone = [row for row in rows if _is_alone(row, repo, revision)]
    controls = {_treatment(row): row.correct for row in alone if row.control == "random"}
    chosen = {
        (_setting(row), row.grid): row
        for policy in POLICIES
        for row in alone
        if row.control is None and row.scale_policy == policy
    }
    pairs = []
    for (setting, grid), row in chosen.items():
        same = {method: n for (on, method), n in without.get(setting, {}).items() if on in (grid, None)}
        if "ptq" in same and grid is not None and row.scale is not None:
            correct, random = {"qvec": row.correct, **same}, controls.get(_treatment(row))
            pairs.append(Pair(row.receiver, row.dataset, grid, row.seed, row.scale, row.n, correct, random))
    return Evidence(repo, revision, tuple(pairs)) if pairs else None


def _setting(row: Row) -> Setting:
    return tuple(getattr(row, name) for name in SETTING)


def _treatment(row: Row) -> tuple[Any, ...]:
    """What a control has in common with the row it belongs to."""
    return _setting(row), row.grid, row.donors, row.scale


def _is_alone(row: Row, repo: str, revision: str | None) -> bool:
    """Was this vector added as it is, without others?"""
    if row.method != "qvec" or len(row.donors) != 1:
        return False
    (donor,) = row.donors
    return donor.repo == repo and donor.weight == 1 and revision in (None, donor.revision)
