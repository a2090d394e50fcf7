"""Calibrated baselines: a whole classifier quantized with images, layer by layer, in the order of its forward pass.

This is what a receiver's owner can do who has images. The result is a plain float model whose linear weights are
the values of the grid, so that whatever counts a float model counts it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...backbone.conditions import usual_settings
from ...errors import QVecError
from ...grid.grid import Grid
from ...grid.quantize import dequantize
from ...rounding.blockwise import Stop, visit_blocks
from ...rounding.gptq import gptq
from .awq import awq

__all__ = ["METHODS", "InputStatistics", "calibrate_"]

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
        method: one of `METHODS`: ``"gptq"``, or ``"awq"``, whose values lie on the grid up to a factor for every
            input.
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
    if method not in METHODS:
        raise QVecError(f"calibrate_: expected a method of {', '.join(map(repr, METHODS))}, found {method!r}")

    def quantize_block(stop: Stop) -> None:
        inputs = _collect(stop)
        for name, layer in stop.layers.items():
            weight = layer.weight
            assert isinstance(weight, Tensor)
            try:
                weight.copy_(METHODS[method](weight.detach(), inputs[name], grid))
            except QVecError as error:
                raise type(error)(f"layer '{name}': {error}") from error
            if progress is not None:
                progress(1)

    visit_blocks(model, pixel_values, batch_size, quantize_block)
    return model


class InputStatistics:
    """Second moments and magnitudes of what flows into a linear layer."""

    def __init__(self, features: int, device: torch.device) -> None:
        self.rows = 0
        self._products = torch.zeros(features, features, dtype=torch.float64, device=device)
        self._magnitudes = torch.zeros(features, dtype=torch.float64, device=device)

    def add(self, inputs: Tensor) -> None:
        """Count inputs ``(…, features)``."""
        rows = inputs.reshape(-1, inputs.shape[-1]).float()
        self.rows += len(rows)
        self._products += rows.T @ rows
        self._magnitudes += rows.abs().sum(dim=0)

    def hessian(self) -> Tensor:
        """``2/N Σ x xᵀ``, float64 ``(features, features)``."""
        return self._products * (2 / self.rows)

    def magnitude(self) -> Tensor:
        """``1/N Σ |x|``, float64 ``(features,)``."""
        return self._magnitudes / self.rows


def _by_gptq(weight: Tensor, inputs: InputStatistics, grid: Grid) -> Tensor:
    return dequantize(*gptq(weight, inputs.hessian(), grid), grid)


def _by_awq(weight: Tensor, inputs: InputStatistics, grid: Grid) -> Tensor:
    return awq(weight, inputs.hessian(), inputs.magnitude(), grid)


Method = Callable[[Tensor, InputStatistics, Grid], Tensor]
METHODS: dict[str, Method] = {"gptq": _by_gptq, "awq": _by_awq}


def _collect(stop: Stop) -> dict[str, InputStatistics]:
    """Statistics of every layer's inputs; layers with the very same inputs get the same object."""
    found: dict[str, InputStatistics] = {}
    seen: dict[str, Tensor] = {}  # this part's inputs, by the layer that met them first

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            twin = next((other for other, inputs in seen.items() if inputs is args[0]), None)
            if twin is not None:
                found[name] = found[twin]
                return
            seen[name] = args[0]
            if name not in found:
                found[name] = InputStatistics(args[0].shape[-1], args[0].device)
            found[name].add(args[0])

        return before

    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in stop.layers.items()]
    try:
        for args, kwargs in stop.parts:
            stop.block(*args, **kwargs)
            seen.clear()
    finally:
        for hook in hooks:
            hook.remove()
    return found
