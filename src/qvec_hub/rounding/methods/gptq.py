"""GPTQ's error compensation on the grid's own scales, layer after layer."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from transformers import PreTrainedModel

from ...grid.grid import Grid
from ...grid.quantize import Quantized
from ..fit_scales import DAMPING
from ..gptq import gptq as round_matrix
from ..layerwise import round_layerwise
from ..moments import Moments
from ..registry import rounding

__all__ = ["gptq"]


@rounding("gptq", "error compensation (GPTQ)", on_card="by GPTQ's error compensation")
def gptq(
    model: PreTrainedModel, grid: Grid, pixel_values: Tensor, *, batch_size: int, progress: Callable[[int], None]
) -> dict[str, Quantized]:
    """The damping is larger than its authors' 0.01: the images are proxies, and codes must not be made for them."""

    def find(weight: Tensor, moments: Moments) -> Quantized:
        return round_matrix(weight, moments.hessian(), grid, damping=DAMPING)

    return round_layerwise(model, grid, pixel_values, find, float_twin=False, batch_size=batch_size, progress=progress)
