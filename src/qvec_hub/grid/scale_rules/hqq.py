"""Half-quadratic quantization: a robust fit of the shift."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..codes import nearest_codes, values_
from ..sums import mean_of_all, unit_sums
from .absmax import absmax
from .registry import CodeRange, scale_rule

__all__ = ["hqq"]


@scale_rule("hqq", "half-quadratic quantization: a robust fit of an affine grid's shift", joint=True, affine_only=True)
def hqq(units: Tensor, grid: CodeRange) -> tuple[Tensor, Tensor | None]:
    """Half-quadratic quantization: a robust (Lp, p = 0.7) fit of the shift at the min-max scale.

    Badri & Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", with the constants
    of optimum-quanto's ``HqqOptimizer``, which packs only 2- and 4-bit codes and so cannot serve here.
    """
    scale, shift = absmax(units, grid)
    assert shift is not None  # Grid refuses symmetric hqq
    beta, kappa, power = 10.0, 1.01, 0.7
    quantized = values_(nearest_codes(units, scale, shift, grid), scale, shift)
    best = mean_of_all((units - quantized).abs())
    for _ in range(20):
        error = units - quantized
        shrunk = error.sign() * F.relu(error.abs() - error.abs().pow(power - 1) / beta)
        codes = nearest_codes(units, scale, shift, grid)
        candidate = unit_sums(codes * scale - (units - shrunk)) / units.shape[1]
        trial = values_(nearest_codes(units, scale, candidate, grid), scale, candidate)
        deviation = mean_of_all((units - trial).abs())
        if not deviation < best:
            break
        best, shift, quantized, beta = deviation, candidate, trial, beta * kappa
    return scale, shift
