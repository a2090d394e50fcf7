"""One forward pass that stops at every encoder layer, to change the layer before the next one is fed.

What runs through the model is all images at once; within a layer they go in parts, so that memory holds their hidden
states at one place and the intermediate values of a part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..backbone.forward import evaluating, show
from ..backbone.names import backbone_linears
from ..backbone.numbered import blocks_of
from ..errors import QVecError
from .steps import Part

__all__ = ["Stop", "visit_blocks"]

Visit = Callable[["Stop"], list[Any]]


class Stop(NamedTuple):
    """A block that the forward pass has reached.

    layers: its linear layers, by their names in the model. parts: what it is called with.
    follows: its first argument is what the block before it returned, with nothing between them.
    """

    block: nn.Module
    layers: Mapping[str, nn.Module]
    parts: list[Part]
    follows: bool


def visit_blocks(model: PreTrainedModel, pixel_values: Tensor, batch_size: int, visit: Visit) -> None:
    """Show images to a float model and call `visit` at each block, which returns what the block does, part by part.

    A *block* is an encoder layer with all its linear layers, or a linear layer outside of those.

    Args:
        pixel_values: ``(images, channels, height, width)``, as the model's image processor makes them.
        batch_size: images in a part, at most.

    Raises:
        QVecError: when the model is not plain, refuses the images or does not use one of its linear layers; before
            the first visit.
    """
    layers = dict(backbone_linears(model))
    _check(model, layers, pixel_values, batch_size)
    pixels = pixel_values.to(device=model.device, dtype=model.dtype)
    with evaluating(model):
        _refuse_unused(model, layers, pixels[:1])
        with ExitStack() as replaced:
            way = _Way(visit, len(pixels), batch_size)
            for block, names in blocks_of(layers).items():
                replaced.enter_context(way.by(model.get_submodule(block), {name: layers[name] for name in names}))
            model(pixel_values=pixels)


class _Way:
    """The blocks' forward passes by way of a visitor."""

    def __init__(self, visit: Visit, images: int, batch_size: int) -> None:
        self.visit, self.images, self.batch_size = visit, images, batch_size
        self.last: Any = None  # what the block before returned

    @contextmanager
    def by(self, block: nn.Module, layers: Mapping[str, nn.Module]) -> Iterator[None]:
        """The block's forward passes lead here until the context ends or it has been visited."""
        own = vars(block).get("forward")  # set by libraries that move models between devices

        def restore() -> None:
            if own is not None:
                block.forward = own
            else:
                vars(block).pop("forward", None)

        def forward(*args: Any, **kwargs: Any) -> Any:
            restore()
            parts = list(self._parts(args, kwargs))
            self.last = _joined(self.visit(Stop(block, layers, parts, bool(args) and args[0] is self.last)))
            return self.last

        block.forward = forward
        try:
            yield
        finally:
            restore()

    def _parts(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Part]:
        """The block's arguments for `batch_size` images or fewer at a time, as evenly as can be.

        A tensor with a row for every image is split.
        """

        def split(value: Any) -> bool:
            return isinstance(value, Tensor) and value.ndim > 0 and len(value) == self.images

        if not any(split(value) for value in (*args, *kwargs.values())):
            yield args, kwargs  # something that does not depend on the images
            return
        count = -(-self.images // self.batch_size)
        for number in range(count):
            part = slice(number * self.images // count, (number + 1) * self.images // count)
            yield (
                tuple(value[part] if split(value) else value for value in args),
                {name: value[part] if split(value) else value for name, value in kwargs.items()},
            )


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


def _check(model: nn.Module, layers: Mapping[str, nn.Module], pixels: Tensor, batch_size: int) -> None:
    if batch_size < 1:
        raise QVecError(f"batch_size: expected at least 1, found {batch_size}")
    if not isinstance(pixels, Tensor) or pixels.ndim != 4 or not pixels.is_floating_point() or not len(pixels):
        found = f"{tuple(pixels.shape)} {pixels.dtype}" if isinstance(pixels, Tensor) else type(pixels).__name__
        raise QVecError(
            f"pixel_values: expected floats (images, channels, height, width), found {found}; pass what the model's "
            "image processor makes of some images"
        )
    if not layers:
        raise QVecError(f"{type(model).__name__}: expected linear layers in the backbone, found none")
    for name, layer in layers.items():
        if type(layer) is not nn.Linear or not layer.weight.is_floating_point():
            raise QVecError(
                f"layer '{name}': expected a plain float Linear, found {type(layer).__name__}; load the float model, "
                "without quantization or adapters"
            )


def _refuse_unused(model: PreTrainedModel, layers: Mapping[str, nn.Module], pixels: Tensor) -> None:
    """Raise unless the model takes such images and every linear layer is called on the way."""
    called: set[str] = set()
    hooks = [
        layer.register_forward_pre_hook(lambda module, args, name=name: called.add(name))
        for name, layer in layers.items()
    ]
    try:
        show(model, pixels)
    finally:
        for hook in hooks:
            hook.remove()
    unused = sorted(layers.keys() - called)
    if unused:
        raise QVecError(
            f"expected {type(model).__name__} to use all linear layers of its backbone, found "
            f"{len(unused)} that no input reaches, the first being '{unused[0]}'"
        )
