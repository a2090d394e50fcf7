"""Calibrated baselines: a whole classifier quantized with images, layer by layer, in the order of its forward pass.

This is what a receiver's owner can do who has images. The result is a plain float model whose linear weights are
the values of the grid, so that whatever counts a float model counts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .awq import awq
from .errors import QVecError, first_line
from .grids import Grid, dequantize
from .naming import backbone_linears
from .rounding import gptq

__all__ = ["METHODS", "InputStatistics", "calibrate_"]

Model = TypeVar("Model", bound=PreTrainedModel)


@torch.no_grad()
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
    layers = dict(backbone_linears(model))
    _check(model, layers, pixel_values, method, batch_size)
    pixels = pixel_values.to(device=model.device, dtype=model.dtype)
    with _evaluating(model):
        _refuse_unused(model, layers, pixels[:1])
        with ExitStack() as replaced:
            for block, names in _blocks(layers).items():
                stage = _Stage({name: layers[name] for name in names}, grid, METHODS[method], len(pixels), batch_size)
                stage.progress = progress or (lambda done: None)
                replaced.enter_context(stage.in_place_of(model.get_submodule(block)))
            model(pixel_values=pixels)
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


class _Stage:
    """What happens where the forward pass reaches one encoder layer: collect, quantize, go on."""

    progress: Callable[[int], None]

    def __init__(
        self, layers: Mapping[str, nn.Module], grid: Grid, method: Method, images: int, batch_size: int
    ) -> None:
        self.layers, self.grid, self.method = layers, grid, method
        self.images, self.batch_size = images, batch_size

    @contextmanager
    def in_place_of(self, block: nn.Module) -> Iterator[None]:
        """The block's forward passes by way of here until the context ends or the block has been quantized."""
        own = vars(block).get("forward")  # set by libraries that move models between devices

        def restore() -> None:
            if own is not None:
                block.forward = own
            else:
                vars(block).pop("forward", None)

        def forward(*args: Any, **kwargs: Any) -> Any:
            restore()
            parts = list(self._parts(args, kwargs))
            self._quantize(self._collect(block, parts))
            return _joined([block(*some, **more) for some, more in parts])

        block.forward = forward
        try:
            yield
        finally:
            restore()

    def _parts(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """The block's arguments for `batch_size` images at a time: a tensor with a row for every image is split."""

        def split(value: Any) -> bool:
            return isinstance(value, Tensor) and value.ndim > 0 and len(value) == self.images

        if not any(split(value) for value in (*args, *kwargs.values())):
            yield args, kwargs  # something that does not depend on the images
            return
        for start in range(0, self.images, self.batch_size):
            part = slice(start, start + self.batch_size)
            yield (
                tuple(value[part] if split(value) else value for value in args),
                {name: value[part] if split(value) else value for name, value in kwargs.items()},
            )

    def _collect(self, block: nn.Module, parts: list[Any]) -> dict[str, InputStatistics]:
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

        hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in self.layers.items()]
        try:
            for args, kwargs in parts:
                block(*args, **kwargs)
                seen.clear()
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def _quantize(self, inputs: Mapping[str, InputStatistics]) -> None:
        for name, layer in self.layers.items():
            weight = layer.weight
            assert isinstance(weight, Tensor)
            try:
                weight.copy_(self.method(weight.detach(), inputs[name], self.grid))
            except QVecError as error:
                raise type(error)(f"calibrate_: layer '{name}': {error}") from error
            self.progress(1)


def _blocks(layers: Mapping[str, nn.Module]) -> dict[str, list[str]]:
    """Block -> its linear layers: what is quantized together, an encoder layer or, outside of those, one layer alone.

    An encoder layer is the innermost numbered module around a linear layer, as ``vit.layers.3``. Where numbered
    modules hold others (a Swin stage its layers), what lies between is quantized one linear layer at a time.
    """
    numbered = {name: _numbered(name) for name in layers}
    blocks: dict[str, list[str]] = {}
    for name, block in numbered.items():
        holds_others = any(other.startswith(f"{block}.") for other in numbered.values())
        blocks.setdefault(name if holds_others else block, []).append(name)
    return blocks


def _numbered(name: str) -> str:
    """The name up to its last number; the whole name without any."""
    parts = name.split(".")
    last = max((place for place, part in enumerate(parts) if part.isdigit()), default=len(parts) - 1)
    return ".".join(parts[: last + 1])


def _joined(outputs: list[Any]) -> Any:
    """The outputs of a block for parts of the images, put together as the block would have given them for all."""
    first = outputs[0]
    if len(outputs) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(outputs)
    if isinstance(first, tuple):
        return tuple(_joined(list(each)) for each in zip(*outputs, strict=True))
    return first


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _check(model: nn.Module, layers: Mapping[str, nn.Module], pixels: Tensor, method: str, batch_size: int) -> None:
    if method not in METHODS:
        raise QVecError(f"calibrate_: expected a method of {', '.join(map(repr, METHODS))}, found {method!r}")
    if batch_size < 1:
        raise QVecError(f"calibrate_: batch_size: expected at least 1, found {batch_size}")
    if not isinstance(pixels, Tensor) or pixels.ndim != 4 or not pixels.is_floating_point() or not len(pixels):
        found = f"{tuple(pixels.shape)} {pixels.dtype}" if isinstance(pixels, Tensor) else type(pixels).__name__
        raise QVecError(
            f"calibrate_: pixel_values: expected floats (images, channels, height, width), found {found}; pass what "
            "the model's image processor makes of some images"
        )
    if not layers:
        raise QVecError(f"calibrate_: {type(model).__name__}: expected linear layers in the backbone, found none")
    for name, layer in layers.items():
        if type(layer) is not nn.Linear or not layer.weight.is_floating_point():
            raise QVecError(
                f"calibrate_: layer '{name}': expected a plain float Linear, found {type(layer).__name__}; load the "
                "float model, without quantization or adapters"
            )


def _refuse_unused(model: PreTrainedModel, layers: Mapping[str, nn.Module], pixels: Tensor) -> None:
    """Raise unless the model takes such images and every linear layer is called on the way."""
    called: set[str] = set()
    hooks = [
        layer.register_forward_pre_hook(lambda module, args, name=name: called.add(name))
        for name, layer in layers.items()
    ]
    try:
        model(pixel_values=pixels)
    except (ValueError, TypeError, RuntimeError) as error:
        raise QVecError(
            f"calibrate_: {type(model).__name__} refuses pixel_values of shape {tuple(pixels.shape)} "
            f"({first_line(error)}); pass what the model's image processor makes of some images"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    unused = sorted(layers.keys() - called)
    if unused:
        raise QVecError(
            f"calibrate_: expected {type(model).__name__} to use all linear layers of its backbone, found "
            f"{len(unused)} that no input reaches, the first being '{unused[0]}'"
        )
