"""The least squared error of a unit decides."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..codes import nearest_codes, values_
from ..sums import unit_sums
from .absmax import absmax
from .registry import MIN_SCALE, CodeRange, scale_rule

__all__ = ["mse"]


@scale_rule("mse", "the least squared error of the weights")
def mse(units: Tensor, grid: CodeRange) -> tuple[Tensor, Tensor | None]:
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


def _mse(units: Tensor, grid: CodeRange) -> tuple[Tensor, Tensor | None]:
    top, shift = absmax(units, grid)
    best = _Best(top, shift, _squared_error(units, top, shift, grid))
    for fraction in _fractions(grid.fan):
        best.offer(top * fraction, shift, _squared_error(units, top * fraction, shift, grid))
    for _ in range(MSE_ROUNDS):
        codes = nearest_codes(units, best.scale, best.shift, grid)
        scale, shift = _least_squares(units, codes, best.scale, best.shift)
        best.offer(scale, shift, _squared_error(units, scale, shift, grid))
    return best.scale, best.shift


MSE_BLOCK = 1 << 17  # weights; half a megabyte of float32, a few of which fit in a core's cache
MSE_ROUNDS = 4
MSE_SEARCH = {3: (0.2, 16), 4: (0.2, 16), 8: (0.35, 10), 16: (0.5, 6)}  # codes -> smallest share of absmax, how many


def _fractions(fan: int) -> list[float]:
    smallest, count = MSE_SEARCH.get(fan, (0.7, 3))
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


def _squared_error(units: Tensor, scale: Tensor, shift: Tensor | None, grid: CodeRange) -> Tensor:
    values = values_(nearest_codes(units, scale, shift, grid), scale, shift)
    return unit_sums(values.sub_(units).square_())


def _least_squares(units: Tensor, codes: Tensor, scale: Tensor, shift: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The scale and shift that fit ``codes * scale - shift`` to the units best; kept where undetermined."""
    if shift is None:
        norm = unit_sums(codes.square())
        fitted = unit_sums(units * codes) / norm
        return torch.where((norm > 0) & (fitted > MIN_SCALE), fitted, scale), None
    size = units.shape[1]
    unit_mean, code_mean = unit_sums(units) / size, unit_sums(codes) / size
    spread = unit_sums((codes - code_mean).square_())
    fitted = unit_sums((units - unit_mean) * (codes - code_mean)) / spread
    usable = (spread > 0) & (fitted > MIN_SCALE)
    scale = torch.where(usable, fitted, scale)
    return scale, torch.where(usable, code_mean * scale - unit_mean, shift)
