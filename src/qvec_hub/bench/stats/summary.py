"""Statistics of many transfers: means with intervals, wins, the worst case and every failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from ...errors import DataError
from .bootstrap import Interval, mean_interval
from .transfer import Transfer

__all__ = ["Summary", "summarise"]


@dataclass(frozen=True)
class Summary:
    """Statistics of transfers. Accuracies, gains and rates are shares, not percent.

    Attributes:
        n_pairs: number of transfers; several seeds of one receiver and donor are several pairs, which intervals keep
            together.
        n_receivers: number of different receivers.
        n_donors: number of different vectors used, alone or merged.
        mean, median: of the gains, from -1 to 1.
        interval: 95 % interval of the mean gain; None if receivers or donors are too few (see `mean_interval`).
        wins: number of pairs with a gain above 0; `win_rate` is their share.
        recovery: sum of gains divided by the sum of ceilings, over the `n_recovery` transfers whose ceiling is clear;
            None without any.
        worst: the transfer with the lowest gain.
        failures: transfers with a gain below 0, the worst first.
        accuracy: mean accuracy, from 0 to 1; `accuracy_interval` is its 95 % interval.
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


def summarise(transfers: Sequence[Transfer], resamples: int = 2000, seed: int = 0) -> Summary:
    """Summarize transfers, usually those of one protocol.

    Intervals are those of `mean_interval`: receivers and donors are resampled if every transfer has a single donor,
    else receivers alone. Receivers of one task and base stay together (`Transfer.cluster`).

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
    clusters = [transfer.cluster for transfer in transfers]
    donors = [transfer.donor for transfer in transfers if transfer.donor is not None]
    crossed = donors if len(donors) == len(transfers) else None
    clear = [transfer for transfer in transfers if transfer.recovery is not None]
    ordered = sorted(transfers, key=_badness)
    return Summary(
        n_pairs=len(transfers),
        n_receivers=len({transfer.row.receiver for transfer in transfers}),
        n_donors=len({use.repo for transfer in transfers for use in transfer.row.donors}),
        mean=fmean(gains),
        interval=mean_interval(gains, clusters, crossed, resamples, seed),
        median=median(gains),
        wins=sum(gain > 0 for gain in gains),
        win_rate=sum(gain > 0 for gain in gains) / len(gains),
        recovery=fmean(t.gain for t in clear) / fmean(t.ceiling or 0.0 for t in clear) if clear else None,
        n_recovery=len(clear),
        worst=ordered[0],
        failures=tuple(transfer for transfer in ordered if transfer.gain < 0),
        accuracy=fmean(shares),
        accuracy_interval=mean_interval(shares, clusters, crossed, resamples, seed),
    )


def _badness(transfer: Transfer) -> tuple[Any, ...]:
    """The worst first, those alike by name."""
    row = transfer.row
    return transfer.gain, row.receiver, [donor.repo for donor in row.donors], row.seed, row.correct
