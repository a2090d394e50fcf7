"""Range rules: which scale (and shift) each unit of weights gets, and rounding units with them.

Everything here works on *units* ``(units, size)`` in float32: the rows of weights that share a scale (see `grids`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from .grid import Grid

__all__ = ["JOINT_RULES", "RANGE_RULES", "fit", "nearest_codes", "values_"]

MIN_MAGNITUDE = 1e-8  # the authors' lower clamp of max|w|, before they divide: a row of zeros keeps a finite scale
MIN_SCALE = 1e-8  # of a scale that is fitted; where the fit is smaller, the scale before it stays
SERIAL = 1 << 14  # numbers that are always summed by one thread; PyTorch shares a sum of 32,768 or more

# units (units, size) float32 -> scale (units, 1), shift (units, 1) or None
RangeRule = Callable[[Tensor, "Grid"], "tuple[Tensor, Tensor | None]"]
RANGE_RULES: dict[str, RangeRule] = {}
JOINT_RULES = {"hqq"}  # how they fit a unit depends on the units beside it


def range_rule(name: str) -> Callable[[RangeRule], RangeRule]:
    def register(rule: RangeRule) -> RangeRule:
        RANGE_RULES[name] = rule
        return rule

    return register


@range_rule("absmax")
def absmax(units: Tensor, grid: Grid) -> tuple[Tensor, Tensor | None]:
    """The outermost code stands for the largest magnitude (the paper's rule); affine: min to max."""
    # Two passes, yet several times faster than torch.aminmax along rows; (units, 1) each.
    low, high = units.amin(dim=1, keepdim=True), units.amax(dim=1, keepdim=True)
    if grid.symmetric:
        return torch.maximum(high, -low).clamp_(min=MIN_MAGNITUDE).div_(grid.qmax), None
    return (high - low).clamp_(min=MIN_MAGNITUDE).div_(grid.qmax - grid.qmin), -low


@range_rule("mse")
def mse(units: Tensor, grid: Grid) -> tuple[Tensor, Tensor | None]:
    """The scale (and shift) with the least squared error per unit.

    For fixed codes ``q`` the best scale is a least-squares fit, ``<w, q> / <q, q>``. From the best of a few
    fractions of absmax, rounding and fitting alternate; the best pair seen is kept. Absmax itself is among
    the candidates, so no unit ends worse than absmax.
    """
    rows = MSE_BLOCK // units.shape[1]
    if rows < 16 or units.device.type != "cpu" or torch.compiler.is_compiling():
        return _mse(units, grid)
    # The search passes over the units more than a hundred times: on a CPU, block by block within its cache.
    scales, shifts = zip(*(_mse(block, grid) for block in units.split(rows)), strict=True)
    return torch.cat(scales), None if grid.symmetric else torch.cat(shifts)


def _mse(units: Tensor, grid: Grid) -> tuple[Tensor, Tensor | None]:
    top, shift = absmax(units, grid)
    best = _Best(top, shift, _squared_error(units, top, shift, grid))
    for fraction in _fractions(grid.bits):
        best.offer(top * fraction, shift, _squared_error(units, top * fraction, shift, grid))
    for _ in range(MSE_ROUNDS):
        codes = nearest_codes(units, best.scale, best.shift, grid)
        scale, shift = _least_squares(units, codes, best.scale, best.shift)
        best.offer(scale, shift, _squared_error(units, scale, shift, grid))
    return best.scale, best.shift


MSE_BLOCK = 1 << 17  # weights; half a megabyte of float32, a few of which fit in a core's cache
MSE_ROUNDS = 4
MSE_SEARCH = {2: (0.2, 16), 3: (0.35, 10), 4: (0.5, 6)}  # bits -> smallest fraction of absmax, how many


def _fractions(bits: int) -> list[float]:
    smallest, count = MSE_SEARCH.get(bits, (0.7, 3))
    return [1.0 - (1.0 - smallest) * step / count for step in range(1, count + 1)]


@dataclass
class _Best:
    """The scale and shift with the least error so far, unit by unit."""

    scale: Tensor
    shift: Tensor | None
    error: Tensor

    def offer(self, scale: Tensor, shift: Tensor | None, error: Tensor) -> None:
        better = error < self.error
        self.error = torch.where(better, error, self.error)
        self.scale = torch.where(better, scale, self.scale)
        if self.shift is not None and shift is not None:
            self.shift = torch.where(better, shift, self.shift)


@range_rule("hqq")
def hqq(units: Tensor, grid: Grid) -> tuple[Tensor, Tensor | None]:
    """Half-quadratic quantization: a robust (Lp, p = 0.7) fit of the shift at the min-max scale.

    Badri & Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", with the constants
    of optimum-quanto's ``HqqOptimizer``, which packs only 2- and 4-bit codes and so cannot serve here.
    """
    scale, shift = absmax(units, grid)
    assert shift is not None  # Grid refuses symmetric hqq
    beta, kappa, power = 10.0, 1.01, 0.7
    quantized = values_(nearest_codes(units, scale, shift, grid), scale, shift)
    best = _mean_of_all((units - quantized).abs())
    for _ in range(20):
        error = units - quantized
        shrunk = error.sign() * F.relu(error.abs() - error.abs().pow(power - 1) / beta)
        codes = nearest_codes(units, scale, shift, grid)
        candidate = _sums(codes * scale - (units - shrunk)) / units.shape[1]
        trial = values_(nearest_codes(units, scale, candidate, grid), scale, candidate)
        deviation = _mean_of_all((units - trial).abs())
        if not deviation < best:
            break
        best, shift, quantized, beta = deviation, candidate, trial, beta * kappa
    return scale, shift


def fit(units: Tensor, grid: Grid) -> tuple[Tensor, Tensor | None]:
    """Scale ``(units, 1)`` and shift (the same, or None) by the grid's rule; of no weights at all the least scale."""
    if units.numel() == 0:
        scale = units.new_full((units.shape[0], 1), MIN_SCALE)
        return scale, None if grid.symmetric else torch.zeros_like(scale)
    return RANGE_RULES[grid.range](units, grid)


def nearest_codes(weight: Tensor, scale: Tensor, shift: Tensor | None, grid: Grid, out: Tensor | None = None) -> Tensor:
    """The integer codes qmin…qmax nearest to float32 weights, as float32, in fresh memory or in `out`.

    Args:
        scale, shift: of shapes that broadcast with the weight's.
    """
    if shift is not None:
        weight = torch.add(weight, shift, out=out)
    return torch.div(weight, scale, out=out).round_().clamp_(grid.qmin, grid.qmax)


def values_(codes: Tensor, scale: Tensor, shift: Tensor | None) -> Tensor:
    """What codes stand for, in their memory."""
    values = codes.mul_(scale)
    return values if shift is None else values.sub_(shift.reshape(-1, 1))


def _squared_error(units: Tensor, scale: Tensor, shift: Tensor | None, grid: Grid) -> Tensor:
    values = values_(nearest_codes(units, scale, shift, grid), scale, shift)
    return _sums(values.sub_(units).square_())


def _least_squares(units: Tensor, codes: Tensor, scale: Tensor, shift: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The scale and shift that fit ``codes * scale - shift`` to the units best; kept where undetermined."""
    if shift is None:
        norm = _sums(codes.square())
        fitted = _sums(units * codes) / norm
        return torch.where((norm > 0) & (fitted > MIN_SCALE), fitted, scale), None
    size = units.shape[1]
    unit_mean, code_mean = _sums(units) / size, _sums(codes) / size
    spread = _sums((codes - code_mean).square_())
    fitted = _sums((units - unit_mean) * (codes - code_mean)) / spread
    usable = (spread > 0) & (fitted > MIN_SCALE)
    scale = torch.where(usable, fitted, scale)
    return scale, torch.where(usable, code_mean * scale - unit_mean, shift)


def _sums(units: Tensor) -> Tensor:
    """The sum of each unit, ``(units, 1)``: the same bits with any number of threads.

    PyTorch shares units among threads, but a single long one it cuts into as many parts as there are threads.
    """
    if len(units) != 1 or units.shape[1] < 2 * SERIAL:
        return units.sum(dim=1, keepdim=True)
    whole = units.shape[1] // SERIAL * SERIAL
    parts = units[:, :whole].reshape(-1, SERIAL).sum(dim=1)
    return _sums(torch.cat([parts, units[0, whole:]]).unsqueeze(0))


def _mean_of_all(values: Tensor) -> Tensor:
    return _sums(values.reshape(1, -1)) / values.numel()
