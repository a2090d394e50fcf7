"""Calibrated baselines: a whole classifier quantized with images, layer by layer, in the order of its forward pass.

This is what a receiver's owner can do who has images. The result is a plain float model whose linear weights are
the values of the grid, so that whatever counts a float model counts it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor
from transformers import PreTrainedModel

from ...backbone.conditions import usual_settings
from ...errors import QVecError
from ...grid.grid import Grid
from ...rounding.blockwise import Stop, visit_blocks
from ...rounding.moments import Moments
from ...rounding.steps import steps_of
from .registry import BASELINES

__all__ = ["calibrate_"]

Model = TypeVar("Model", bound=PreTrainedModel)


@usual_settings()
def calibrate_(
    model: Model,
    pixel_values: Tensor,
    grid: Grid | str,
    method: str = "gptq",
    *,
    batch_size: int = 32,
    progress: Callable[[int], None] | None = None,
) -> Model:
    """Round the backbone's linear weights to `grid` by what flows through them, in place.

    One forward pass takes all images along. Where it reaches an encoder layer, that layer first runs as it is, on
    the outputs of the quantized layers before it, while the second moments of its linear layers' inputs are added
    up; then all its linear weights are quantized together, as GPTQ's authors do it; then it runs again to feed the
    next one. Linear layers with one input (query, key, value) share their statistics. Memory holds the hidden states
    of all images at one place, and the statistics and intermediate values of one encoder layer. Head, embeddings,
    norms and biases stay as they are.

    Args:
        model: a float transformers image classifier, on any device.
        pixel_values: ``(images, channels, height, width)``, as its image processor makes them.
        method: a registered baseline: ``"gptq"``, or ``"awq"``, whose values lie on the grid up to a factor for
            every input.
        batch_size: images that one encoder layer takes at a time.
        progress: called with the number of linear layers quantized since its last call.

    Returns:
        The same model.

    Raises:
        GridError: when the grid does not exist, or a weight holds NaN or infinity.
        QVecError: when the model is not plain, refuses the images, does not use one of its linear layers, or
            computes NaN. Only where a weight or an intermediate value is not finite has the model been changed
            by then.
    """
    grid = Grid.parse(grid)
    round_weight = BASELINES.get(method).round_weight

    def quantize_block(stop: Stop) -> list[Any]:
        inputs = _collect(stop)
        for name, layer in stop.layers.items():
            weight = layer.weight
            assert isinstance(weight, Tensor)
            try:
                weight.copy_(round_weight(weight.detach(), inputs[name], grid))
            except QVecError as error:
                raise type(error)(f"layer '{name}': {error}") from error
            if progress is not None:
                progress(1)
        return [stop.block(*args, **kwargs) for args, kwargs in stop.parts]

    visit_blocks(model, pixel_values, batch_size, quantize_block)
    return model


def _collect(stop: Stop) -> dict[str, Moments]:
    """The moments of every layer's inputs; layers with the very same inputs share them."""
    names = {layer: name for name, layer in stop.layers.items()}
    found: dict[str, Moments] = {}
    for step in steps_of(stop.block, names, stop.parts, frozen=True):
        moments = Moments(magnitudes=True)
        for inputs in step.inputs:
            moments.add(inputs)
        found |= dict.fromkeys((names[layer] for layer in step.layers), moments)
    return found
