"""What flows into the linear layers of a block, step by step, while a caller replaces their weights.

A *step* is the linear layers that take the very same input. `steps_of` runs a block once: it stops at each step, and
goes on with the weights that the layers have by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn
from transformers.models.vit.modeling_vit import ViTLayer

from ..backbone.class_token import attended, reads_class_token_only

__all__ = ["Part", "Run", "Step", "inputs_of", "steps_of"]

Part = tuple[tuple[Any, ...], dict[str, Any]]  # the arguments of a block, for some of the images


class Step(NamedTuple):
    """Linear layers with one input.

    inputs: that input ``(images, tokens, features)``, part by part; to be read once.
    stream: the residual stream that the layer's output is added to, part by part with the same images and tokens;
        None where it is not known.
    """

    layers: tuple[nn.Module, ...]
    inputs: Iterable[Tensor]
    stream: Sequence[Tensor] | None


class Run(Protocol):
    """A block on its way through all images: iterate over its steps, then read what it returns, part by part."""

    outputs: list[Any]

    def __iter__(self) -> Iterator[Step]: ...


def steps_of(block: nn.Module, layers: Iterable[nn.Module], parts: list[Part], *, frozen: bool = False) -> Run:
    """Run a block once over its parts.

    Args:
        layers: its linear layers.
        parts: what it is called with.
        frozen: no weight is replaced on the way, so that less has to be kept.
    """
    if type(block) is ViTLayer and all(args and isinstance(args[0], Tensor) for args, _ in parts):
        return _ViTRun(block, parts, frozen)
    return _AnyRun(block, list(layers), parts)


class _Reached(Exception):
    """Ends a forward pass at the layer that was waited for."""


def inputs_of(module: nn.Module, layer: nn.Module, part: Part) -> Tensor:
    """What flows into one of a module's layers; the module's forward pass ends there."""
    found: list[Tensor] = []

    def watch(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        found.append(args[0])
        raise _Reached

    hook = layer.register_forward_pre_hook(watch)
    args, kwargs = part
    try:
        module(*args, **kwargs)
    except _Reached:
        pass
    finally:
        hook.remove()
    return found[0]


class _ViTRun:
    """A transformers ViT layer: `ViTLayer.forward` in evaluation mode, or `only_class_token`'s way through it."""

    def __init__(self, block: ViTLayer, parts: list[Part], frozen: bool) -> None:
        self.block, self.parts, self.frozen = block, parts, frozen
        self.outputs: list[Any] = []

    def __iter__(self) -> Iterator[Step]:
        block, attention, mlp = self.block, self.block.attention, self.block.mlp
        stream = [args[0] for args, _ in self.parts]
        normed = [block.layernorm_before(tokens) for tokens in stream]
        if reads_class_token_only(block):
            yield Step((attention.q_proj,), [tokens[:, :1] for tokens in normed], None)
            yield Step((attention.k_proj, attention.v_proj), normed, None)
            stream = [tokens[:, :1] for tokens in stream]
            mixed = [attended(attention, tokens[:, :1], tokens) for tokens in normed]
        else:
            yield Step((attention.q_proj, attention.k_proj, attention.v_proj), normed, None)
            mixed = [self._mixed(tokens, part) for tokens, part in zip(normed, self.parts, strict=True)]
        yield Step((attention.o_proj,), mixed, stream)
        stream = [attention.o_proj(more) + tokens for more, tokens in zip(mixed, stream, strict=True)]
        del mixed
        normed = [block.layernorm_after(tokens) for tokens in stream]
        yield Step((mlp.fc1,), normed, None)
        yield Step((mlp.fc2,), self._finished(normed, stream) if self.frozen else self._inner(normed), stream)
        if not self.frozen:
            self.outputs = [mlp.fc2(tokens) + more for tokens, more in zip(self._inner(normed), stream, strict=True)]

    def _mixed(self, normed: Tensor, part: Part) -> Tensor:
        """What the output projection takes."""
        attention, (args, kwargs) = self.block.attention, part
        return inputs_of(attention, attention.o_proj, ((normed, *args[1:]), kwargs))

    def _inner(self, normed: list[Tensor]) -> Iterator[Tensor]:
        """The inputs of the last layer: the widest of all, so they are computed again rather than kept."""
        for tokens in normed:
            yield self.block.mlp.activation_fn(self.block.mlp.fc1(tokens))

    def _finished(self, normed: list[Tensor], stream: list[Tensor]) -> Iterator[Tensor]:
        """The same, each with the block's output: once the last layer is read, a frozen block has run."""
        for tokens, more in zip(self._inner(normed), stream, strict=True):
            self.outputs.append(self.block.mlp.fc2(tokens) + more)
            yield tokens


class _AnyRun:
    """Any other block: it runs from its start again for every step, since nothing is known of what lies between."""

    def __init__(self, block: nn.Module, layers: list[nn.Module], parts: list[Part]) -> None:
        self.block, self.layers, self.parts = block, layers, parts
        self.outputs: list[Any] = []

    def __iter__(self) -> Iterator[Step]:
        for layers in _sharing_input(self.block, self.layers, self.parts[0]):
            yield Step(tuple(layers), (inputs_of(self.block, layers[0], part) for part in self.parts), None)
        self.outputs = [self.block(*args, **kwargs) for args, kwargs in self.parts]


def _sharing_input(block: nn.Module, layers: list[nn.Module], part: Part) -> list[list[nn.Module]]:
    """The block's linear layers in the order of their use; those with the very same input together."""
    used: list[tuple[Tensor, list[nn.Module]]] = []

    def watch(layer: nn.Module) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            together = next((together for inputs, together in used if inputs is args[0]), None)
            if together is None:
                used.append((args[0], [layer]))
            else:
                together.append(layer)

        return before

    hooks = [layer.register_forward_pre_hook(watch(layer)) for layer in layers]
    try:
        args, kwargs = part
        block(*args, **kwargs)
    finally:
        for hook in hooks:
            hook.remove()
    return [together for _, together in used]
