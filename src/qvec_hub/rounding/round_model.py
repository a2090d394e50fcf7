"""Rounding all linear layers of a model by what flows through them, each with the layers before it quantized.

The images need not be the receiver's: what a layer's inputs have in common hardly depends on them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

from torch import Tensor, nn
from transformers import PreTrainedModel

from ..backbone.class_token import only_class_token
from ..backbone.conditions import usual_settings
from ..backbone.names import backbone_linears
from ..backbone.residuals import residual_streams
from ..errors import QVecError
from ..grid.grid import Grid
from ..grid.quantize import Quantized, dequantize
from . import tune_scales as tuning
from .blockwise import Part, Stop, inputs_of, visit_blocks
from .fit_scales import DAMPING, fit, restored_target
from .gptq import gptq

__all__ = ["ROUNDINGS", "amount_of_work", "known_rounding", "round_linears_"]

ROUNDINGS = ("nearest", "gptq", "fitted", "tuned")
SHARE = 0.5  # of the earlier layers' errors that later ones make good: all of it would be made for these images


@usual_settings()
def round_linears_(
    model: PreTrainedModel,
    grid: Grid,
    rounding: str,
    pixel_values: Tensor,
    *,
    batch_size: int = 32,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Quantized]:
    """Round the backbone's linear weights in the order of the forward pass; the model then computes with them.

    ``"gptq"`` is GPTQ's error feedback on the grid's own scales. ``"fitted"`` also fits the scales (see `fitting.fit`)
    and aims at what the float model computes, so that later layers make good a part of what earlier ones lost.
    ``"tuned"`` then tunes all scales together to the float model's features (see `tuning.tune_scales`).
    Layers that share an input are rounded together; memory holds one encoder layer in float, the moments of one
    input, and the hidden states of all images twice. The same images give the same codes.

    Args:
        model: a float transformers image classifier, patched already where a vector is wanted.
        pixel_values: ``(images, channels, height, width)``, as its image processor makes them.
        batch_size: images that one encoder layer takes at a time.
        progress: called with 1 for every part of the `amount_of_work` that is done.

    Returns:
        Codes and scales by the layers' names.

    Raises:
        GridError: when a weight holds NaN or infinity.
        QVecError: when the model is not plain, refuses the images, does not use one of its linear layers or computes
            NaN.
    """
    layers = dict(backbone_linears(model))
    tunes = rounding == "tuned"
    trained = {name: layer.weight.detach().clone() for name, layer in layers.items()} if tunes else {}
    rounder = _Rounder(grid, rounding, progress or (lambda done: None))
    with only_class_token(model):
        visit_blocks(model, pixel_values, batch_size, rounder.visit)
    if not tunes:
        return {name: rounder.found[name] for name in layers}
    for name, weight in trained.items():
        layers[name].weight.copy_(weight)
    found = tuning.tune_scales(model, rounder.found, grid, pixel_values, progress=progress)
    for name, layer in layers.items():
        layer.weight.copy_(dequantize(*found[name], grid))
    return found


def known_rounding(rounding: str) -> str:
    """The rounding, if there is such a one.

    Raises:
        QVecError: otherwise.
    """
    if rounding not in ROUNDINGS:
        raise QVecError(f"rounding: expected one of {', '.join(map(repr, ROUNDINGS))}, found {rounding!r}")
    return rounding


def amount_of_work(model: PreTrainedModel, rounding: str) -> int:
    """How many parts `round_linears_` reports as done: linear layers, and steps of tuning."""
    return len(dict(backbone_linears(model))) + (tuning.STEPS if rounding == "tuned" else 0)


class _Rounder:
    """Visits block after block, with a float twin of each that sees what the float model would have computed."""

    def __init__(self, grid: Grid, rounding: str, progress: Callable[[int], None]) -> None:
        self.grid, self.rounding, self.progress = grid, rounding, progress
        self.found: dict[str, Quantized] = {}
        self.outputs: list[Tensor] | None = None  # of the float twin of the block before, part by part

    def visit(self, stop: Stop) -> None:
        twin = None if self.rounding == "gptq" else copy.deepcopy(stop.block)
        twin_parts = self._twin_parts(stop)
        for names in _sharing_input(stop):
            moments = _Moments()
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

    def _round(self, layers: Mapping[str, nn.Module], moments: _Moments) -> None:
        for name, layer in layers.items():
            weight = layer.weight
            assert isinstance(weight, Tensor)
            try:
                quantized = self._rounded(weight.detach(), moments)
            except QVecError as error:
                raise type(error)(f"layer '{name}': {error}") from error
            weight.copy_(dequantize(*quantized, self.grid))
            self.found[name] = quantized
            self.progress(1)

    def _rounded(self, weight: Tensor, moments: _Moments) -> Quantized:
        hessian = moments.hessian()
        if self.rounding == "gptq":
            return gptq(weight, hessian, self.grid, damping=DAMPING)
        weight = weight.float()
        return fit(restored_target(weight, hessian, moments.missing(weight), SHARE), hessian, self.grid)


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


class _Moments:
    """Second moments of a layer's inputs x̂, and how they go with its twin's inputs x and with the lacking residual."""

    def __init__(self) -> None:
        self.rows = 0
        self._own: Tensor | None = None
        self._cross: Tensor | None = None
        self._residual: Tensor | None = None

    def add(self, inputs: Tensor, floats: Tensor | None, lacking: Tensor | None) -> None:
        """Count inputs ``(…, features)`` and, in the same order, those of the twin and ``(…, out)`` of the stream."""
        rows = inputs.reshape(-1, inputs.shape[-1]).float()
        self.rows += len(rows)
        self._own = _plus(self._own, rows.T @ rows)
        if floats is not None:
            self._cross = _plus(self._cross, (floats.reshape(rows.shape).float() - rows).T @ rows)
        if lacking is not None:
            self._residual = _plus(self._residual, lacking.reshape(len(rows), -1).float().T @ rows)

    def hessian(self) -> Tensor:
        """``2/N Σ x̂ x̂ᵀ``, float64 ``(features, features)``."""
        assert self._own is not None
        return self._own * (2 / self.rows)

    def missing(self, weight: Tensor) -> Tensor:
        """What the layer's outputs lack on its inputs: ``2/N Σ (W (x − x̂) + residual) x̂ᵀ``, ``(out, features)``."""
        assert self._cross is not None
        total = weight.double() @ self._cross
        return (total if self._residual is None else total + self._residual) * (2 / self.rows)


def _plus(total: Tensor | None, more: Tensor) -> Tensor:
    return more.double() if total is None else total.add_(more)


def _sharing_input(stop: Stop) -> list[list[str]]:
    """The block's linear layers in the order of their use; those with the very same input together."""
    used: list[tuple[Tensor, list[str]]] = []

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            names = next((names for inputs, names in used if inputs is args[0]), None)
            if names is None:
                used.append((args[0], [name]))
            else:
                names.append(name)

        return before

    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in stop.layers.items()]
    try:
        args, kwargs = stop.parts[0]
        stop.block(*args, **kwargs)
    finally:
        for hook in hooks:
            hook.remove()
    return [names for _, names in used]
