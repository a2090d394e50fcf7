"""Rounding a model's linear layers in the order of the forward pass, each with the layers before it quantized.

The images need not be the receiver's: what a layer's inputs have in common hardly depends on them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..backbone.class_token import only_class_token
from ..backbone.names import backbone_linears
from ..backbone.residuals import residual_streams
from ..errors import QVecError
from ..grid.grid import Grid
from ..grid.quantize import Quantized, dequantize
from .blockwise import Part, Stop, inputs_of, sharing_input, visit_blocks
from .moments import Moments

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
        self.outputs: list[Tensor] | None = None  # of the float twin of the block before, part by part

    def visit(self, stop: Stop) -> None:
        twin = copy.deepcopy(stop.block) if self.float_twin else None
        twin_parts = self._twin_parts(stop)
        for names in sharing_input(stop):
            moments = Moments()
            watched = _Watched(stop.block, twin, stop.layers[names[0]])
            for part, twin_part in zip(stop.parts, twin_parts, strict=True):
                moments.add(*watched.see(part, twin_part))
            self._round({name: stop.layers[name] for name in names}, moments)
        if twin is not None:
            outputs = [twin(*args, **kwargs) for args, kwargs in twin_parts]
            self.outputs = outputs if all(isinstance(each, Tensor) for each in outputs) else None

    def _twin_parts(self, stop: Stop) -> list[Part]:
        """What the float model would call the block with; what the quantized one does, where that is not known."""
        if not stop.follows or self.outputs is None:
            return stop.parts
        return [((out, *args[1:]), kwargs) for out, (args, kwargs) in zip(self.outputs, stop.parts, strict=True)]

    def _round(self, layers: Mapping[str, nn.Module], moments: Moments) -> None:
        for name, layer in layers.items():
            weight = layer.weight
            assert isinstance(weight, Tensor)
            try:
                quantized = self.round_layer(weight.detach(), moments)
            except QVecError as error:
                raise type(error)(f"layer '{name}': {error}") from error
            weight.copy_(dequantize(*quantized, self.grid))
            self.found[name] = quantized
            self.progress(1)


class _Watched:
    """A linear layer of a block and of its float twin, and the residual stream that it writes to, if known."""

    def __init__(self, block: nn.Module, twin: nn.Module | None, layer: nn.Module) -> None:
        self.block, self.twin = block, twin
        stream = residual_streams(block).get(layer)
        self.modules = [layer] if twin is None or stream is None else [stream, layer]
        places = {module: name for name, module in block.named_modules()}
        self.twins = [] if twin is None else [twin.get_submodule(places[module]) for module in self.modules]

    def see(self, part: Part, twin_part: Part) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The layer's inputs, those of its twin, and what the quantized model's residual stream lacks."""
        *streams, inputs = inputs_of(self.block, self.modules, part)
        if self.twin is None:
            return inputs, None, None
        *twin_streams, floats = inputs_of(self.twin, self.twins, twin_part)
        if not streams:
            return inputs, floats, None
        lacking = twin_streams[0] - streams[0]
        return inputs, floats, lacking[:, : inputs.shape[1]]  # the last layer goes on with the class token alone
