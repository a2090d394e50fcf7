"""Each weight takes the nearest value of the grid: round-to-nearest, the published method's rounding."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ...backbone.names import backbone_linears
from ...grid.grid import Grid
from ...grid.quantize import Quantized, dequantize, quantize
from ..registry import rounding

__all__ = ["nearest"]


@rounding(
    "nearest",
    "each weight to the nearest value of the grid",
    on_card="to nearest",
    scales=(0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0),
)
@torch.no_grad()
def nearest(
    model: PreTrainedModel, grid: Grid, pixel_values: Tensor, *, batch_size: int, progress: Callable[[int], None]
) -> dict[str, Quantized]:
    found = {}
    for name, layer in backbone_linears(model):
        found[name] = quantize(layer.weight.detach(), grid)
        layer.weight.copy_(dequantize(*found[name], grid))
        progress(1)
    return found
