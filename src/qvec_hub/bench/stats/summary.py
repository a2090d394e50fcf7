"""What many transfers say together: means with intervals, wins, the worst case and every failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from ...errors import DataError
from ...results.row import Row
from .bootstrap import Interval, mean_interval
from .measurement import latest
from .transfer import Transfer

__all__ = ["Accuracy", "Summary", "accuracy", "against_scale", "per_donor", "per_receiver", "summarise"]


@dataclass(frozen=True)
class Summary:
    """Statistics of transfers, in shares of right predictions.

    n_pairs: of transfers; several seeds of one receiver and donor are several pairs, which stay together in
    intervals. n_donors: of different vectors used, alone or merged. mean, median, worst, failures, wins: of the
    gain; a win is a gain above 0, failures are gains below 0, the worst first. accuracy: the mean share of right
    predictions. interval, accuracy_interval: None where receivers or donors are too few (see `mean_interval`).
    recovery: the sum of gains over the sum of ceilings, of the `n_recovery` transfers whose ceiling is clear.
    """

    n_pairs: int
    n_receivers: int
    n_donors: int
    mean: float
    interval: Interval | None
    median: float
    wins: int
    win_rate: float
    recovery: float | None
    n_recovery: int
    worst: Transfer
    failures: tuple[Transfer, ...]
    accuracy: float
    accuracy_interval: Interval | None


@dataclass(frozen=True)
class Accuracy:
    """The mean share of right predictions over `n_rows` rows."""

    n_rows: int
    mean: float
    interval: Interval | None


def summarise(transfers: Sequence[Transfer], resamples: int = 2000, seed: int = 0) -> Summary:
    """Statistics of transfers of one protocol (or of several, where that makes sense to you).

    Intervals are of 95 % and by `mean_interval`: receivers and donors are resampled if every transfer has a single
    donor, else receivers alone.

    Raises:
        DataError: there are no transfers.
    """
    if not transfers:
        raise DataError(
            "transfers: expected at least one, found none; a transfer needs a row of a treatment and the 'ptq' row of "
            "the same receiver, grid, images and seed"
        )
    gains = [transfer.gain for transfer in transfers]
    shares = [transfer.correct / transfer.n for transfer in transfers]
    receivers = [transfer.row.receiver for transfer in transfers]
    donors = [transfer.donor for transfer in transfers if transfer.donor is not None]
    crossed = donors if len(donors) == len(transfers) else None
    clear = [transfer for transfer in transfers if transfer.recovery is not None]
    ordered = sorted(transfers, key=_badness)
    return Summary(
        n_pairs=len(transfers),
        n_receivers=len(set(receivers)),
        n_donors=len({use.repo for transfer in transfers for use in transfer.row.donors}),
        mean=fmean(gains),
        interval=mean_interval(gains, receivers, crossed, resamples, seed),
        median=median(gains),
        wins=sum(gain > 0 for gain in gains),
        win_rate=sum(gain > 0 for gain in gains) / len(gains),
        recovery=fmean(t.gain for t in clear) / fmean(t.ceiling or 0.0 for t in clear) if clear else None,
        n_recovery=len(clear),
        worst=ordered[0],
        failures=tuple(transfer for transfer in ordered if transfer.gain < 0),
        accuracy=fmean(shares),
        accuracy_interval=mean_interval(shares, receivers, crossed, resamples, seed),
    )


def accuracy(rows: Iterable[Row], resamples: int = 2000, seed: int = 0) -> Accuracy:
    """The mean share of right predictions of rows, such as all of ``"fp"``; receivers are resampled.

    Of rows that repeat a measurement the last one counts.

    Raises:
        DataError: there are no rows.
    """
    rows = latest(rows)
    shares = [row.correct / row.n for row in rows]
    if not shares:
        raise DataError("rows: expected at least one, found none; choose a method that was measured")
    interval = mean_interval(shares, [row.receiver for row in rows], None, resamples, seed)
    return Accuracy(len(shares), fmean(shares), interval)


def per_donor(transfers: Iterable[Transfer]) -> dict[str, Summary]:
    """Each single vector's own statistics, by name; merged vectors and calibrated methods have none."""
    return _by(lambda transfer: transfer.donor, transfers)


def per_receiver(transfers: Iterable[Transfer]) -> dict[str, Summary]:
    """Each receiver's own statistics, by name."""
    return _by(lambda transfer: transfer.row.receiver, transfers)


def against_scale(transfers: Iterable[Transfer]) -> list[tuple[float, Summary]]:
    """Statistics at each scale that was set alike for all, ascending; scales that were chosen are left out."""
    by_scale = _by(lambda t: t.row.scale if t.row.scale_policy in (None, "unit") else None, transfers)
    return list(by_scale.items())


def _by(key: Callable[[Transfer], Any], transfers: Iterable[Transfer]) -> dict[Any, Summary]:
    parts: dict[Any, list[Transfer]] = {}
    for transfer in transfers:
        if key(transfer) is not None:
            parts.setdefault(key(transfer), []).append(transfer)
    return {name: summarise(parts[name]) for name in sorted(parts)}


def _badness(transfer: Transfer) -> tuple[Any, ...]:
    """The worst first, those alike by name."""
    row = transfer.row
    return transfer.gain, row.receiver, [donor.repo for donor in row.donors], row.seed, row.correct
