"""Rounding a model's linear layers in the order of the forward pass, each with the layers before it quantized.

The images need not be the receiver's: what a layer's inputs have in common hardly depends on them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..backbone.class_token import only_class_token
from ..backbone.names import backbone_linears
from ..errors import QVecError
from ..grid.grid import Grid
from ..grid.quantize import Quantized, dequantize
from .blockwise import Stop, visit_blocks
from .moments import Moments
from .steps import Run, steps_of

__all__ = ["round_layerwise"]

RoundLayer = Callable[[Tensor, Moments], Quantized]


@torch.no_grad()
def round_layerwise(
    model: PreTrainedModel,
    grid: Grid,
    pixel_values: Tensor,
    round_layer: RoundLayer,
    *,
    float_twin: bool,
    batch_size: int,
    progress: Callable[[int], None],
) -> dict[str, Quantized]:
    """Round every linear weight by the second moments of its inputs; the model then computes with them.

    Layers that share an input are rounded together. Memory holds one encoder layer in float, the moments of one
    input, and the hidden states of all images twice.

    Args:
        round_layer: codes and scales of a weight ``(out, in)`` from its moments.
        float_twin: also collect what the float model would have computed, so that a layer can compensate what earlier
            ones lost (`Moments.missing`).

    Returns:
        Codes and scales by the layers' names, in the model's order.

    Raises:
        GridError: when a weight holds NaN or infinity.
        QVecError: when the model is not plain, refuses the images, does not use one of its linear layers or computes
            NaN.
    """
    rounder = _Rounder(grid, round_layer, float_twin, progress)
    with only_class_token(model):
        visit_blocks(model, pixel_values, batch_size, rounder.visit)
    return {name: rounder.found[name] for name, _ in backbone_linears(model)}


class _Rounder:
    """Visits block after block, with a float twin of each that sees what the float model would have computed."""

    def __init__(self, grid: Grid, round_layer: RoundLayer, float_twin: bool, progress: Callable[[int], None]) -> None:
        self.grid, self.round_layer, self.float_twin, self.progress = grid, round_layer, float_twin, progress
        self.found: dict[str, Quantized] = {}
        self.outputs: list[Any] = []  # of the float twin of the block before, part by part

    def visit(self, stop: Stop) -> list[Any]:
        names = {layer: name for name, layer in stop.layers.items()}
        run, twin = steps_of(stop.block, names, stop.parts), self._twin(stop)
        for step, float_step in zip(run, repeat(None) if twin is None else twin, strict=twin is not None):
            moments = Moments.of(step, float_step, len(stop.parts))
            self._round({names[layer]: layer for layer in step.layers}, moments)
        self.outputs = [] if twin is None else twin.outputs
        return run.outputs

    def _twin(self, stop: Stop) -> Run | None:
        """The block as it was trained, with what the float model would call it with, where that is known."""
        if not self.float_twin:
            return None
        block, parts = copy.deepcopy(stop.block), stop.parts
        outputs, self.outputs = self.outputs, []
        if stop.follows and outputs and all(isinstance(each, Tensor) for each in outputs):
            parts = [((out, *args[1:]), kwargs) for out, (args, kwargs) in zip(outputs, parts, strict=True)]
        return steps_of(block, [block.get_submodule(name) for name in _places(stop)], parts, frozen=True)

    def _round(self, layers: Mapping[str, nn.Module], moments: Moments) -> None:
        """Round layers of one input; their rows go together where each has scales of its own."""
        weights = {name: _weight(layer) for name, layer in layers.items()}
        if not self.grid.rows_are_independent:
            found = {name: self._find(name, weight, moments) for name, weight in weights.items()}
        else:
            sizes = [len(weight) for weight in weights.values()]
            every = self._find("', '".join(weights), torch.cat(list(weights.values())), moments)
            parts = [[None] * len(sizes) if each is None else each.split(sizes) for each in every]
            found = {name: Quantized(*each) for name, each in zip(weights, zip(*parts, strict=True), strict=True)}
        for name, quantized in found.items():
            weights[name].copy_(dequantize(*quantized, self.grid))
            self.found[name] = quantized
            self.progress(1)

    def _find(self, name: str, weight: Tensor, moments: Moments) -> Quantized:
        try:
            return self.round_layer(weight, moments)
        except QVecError as error:
            raise type(error)(f"layer '{name}': {error}") from error


def _weight(layer: nn.Module) -> Tensor:
    assert isinstance(layer.weight, Tensor)
    return layer.weight.detach()


def _places(stop: Stop) -> list[str]:
    """The names of the block's linear layers within the block."""
    places = {module: name for name, module in stop.block.named_modules()}
    return [places[layer] for layer in stop.layers.values()]
