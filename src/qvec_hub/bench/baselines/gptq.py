"""GPTQ as its authors have it: all layers of a block at once, damping 0.01."""

from __future__ import annotations

from torch import Tensor

from ...grid.grid import Grid
from ...grid.quantize import dequantize
from ...rounding.gptq import gptq as round_matrix
from ...rounding.moments import Moments
from .registry import baseline

__all__ = ["gptq"]

DAMPING = 0.01  # arXiv 2210.17323


@baseline("gptq", "error compensation, a block's layers at once, damping 0.01 (arXiv 2210.17323)", label="GPTQ")
def gptq(weight: Tensor, moments: Moments, grid: Grid) -> Tensor:
    return dequantize(*round_matrix(weight, moments.hessian(), grid, damping=DAMPING), grid)
