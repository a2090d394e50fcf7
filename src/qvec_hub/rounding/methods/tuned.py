"""`fitted`, and then all scales tuned together to the float model's features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ...backbone.names import backbone_linears
from ...grid.grid import Grid
from ...grid.quantize import Quantized, dequantize
from .. import tune_scales as tuning
from ..registry import rounding
from .fitted import fitted

__all__ = ["tuned"]


@rounding(
    "tuned",
    "fitted, then all scales tuned together to the float model's features",
    on_card="by GPTQ's error compensation, with scales fitted to the outputs and tuned together",
    extra_parts=lambda: tuning.STEPS,
    clear_gain=0.2,
    trial="fitted",  # tuning is not worth its time for a trial
)
@torch.no_grad()
def tuned(
    model: PreTrainedModel, grid: Grid, pixel_values: Tensor, *, batch_size: int, progress: Callable[[int], None]
) -> dict[str, Quantized]:
    layers = dict(backbone_linears(model))
    trained = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    found = fitted(model, grid, pixel_values, batch_size=batch_size, progress=progress)
    for name, weight in trained.items():
        layers[name].weight.copy_(weight)
    found = tuning.tune_scales(model, found, grid, pixel_values, progress=progress)
    for name, layer in layers.items():
        layer.weight.copy_(dequantize(*found[name], grid))
    return found
