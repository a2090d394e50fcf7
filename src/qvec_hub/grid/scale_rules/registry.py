"""The registry of scale rules: which scale, and on an affine grid which shift, a unit of weights gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ...errors import GridError
from ...util.registry import Registry

__all__ = ["MIN_SCALE", "SCALE_RULES", "CodeRange", "FitScale", "ScaleRule", "scale_rule"]

MIN_SCALE = 1e-8  # of a scale that is fitted; where the fit is smaller, the scale before it stays


class CodeRange(Protocol):
    """What a rule needs to know of a grid: how many codes it has, the least and the largest, see `Grid`."""

    @property
    def fan(self) -> int: ...

    @property
    def qmin(self) -> int: ...

    @property
    def qmax(self) -> int: ...

    @property
    def symmetric(self) -> bool: ...


# Units ``(units, size)`` float32 and the codes -> scale ``(units, 1)``, and shift ``(units, 1)`` or None.
FitScale = Callable[[Tensor, CodeRange], "tuple[Tensor, Tensor | None]"]


@dataclass(frozen=True)
class ScaleRule:
    """A way to pick the scale of a unit: the set of weights that share one.

    Attributes:
        fit: scale and shift of many units; ``code * scale`` is a weight on a symmetric grid, ``code * scale - shift``
            on an affine one.
        joint: whether how it fits a unit depends on the units beside it, so that weights are never rounded together.
        affine_only: whether it exists on affine grids alone.
        trellis: whether codes stand for levels by the codes above them, see `qvec_hub.grid.trellis`; on symmetric grids
            for which it has a table alone.
    """

    name: str
    about: str
    fit: FitScale
    joint: bool = False
    affine_only: bool = False
    trellis: bool = False


SCALE_RULES: Registry[ScaleRule] = Registry("grid: range", GridError)


def scale_rule(
    name: str, about: str, *, joint: bool = False, affine_only: bool = False, trellis: bool = False
) -> Callable[[FitScale], FitScale]:
    """Register the decorated function; see `ScaleRule` for the arguments. A name consists of lower-case letters."""

    def enter(fit: FitScale) -> FitScale:
        SCALE_RULES.add(ScaleRule(name, about, fit, joint, affine_only, trellis))
        return fit

    return enter
