"""The registry of calibrated baselines: what somebody can do who has images of the receiver's task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ...grid.grid import Grid
from ...rounding.moments import Moments
from ...util.registry import Registry

__all__ = ["BASELINES", "Baseline", "baseline"]

RoundWeight = Callable[[Tensor, Moments, Grid], Tensor]


@dataclass(frozen=True)
class Baseline:
    """A calibrated method as its authors have it.

    Attributes:
        label: its name in tables.
        round_weight: a weight ``(out, in)``, the moments of its inputs and the grid -> the rounded weight.
    """

    name: str
    about: str
    label: str
    round_weight: RoundWeight


BASELINES: Registry[Baseline] = Registry("calibrated method")


def baseline(name: str, about: str, *, label: str) -> Callable[[RoundWeight], RoundWeight]:
    """Register the decorated function; see `Baseline` for the arguments."""

    def enter(round_weight: RoundWeight) -> RoundWeight:
        BASELINES.add(Baseline(name, about, label, round_weight))
        return round_weight

    return enter
