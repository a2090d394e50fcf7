"""What flows into the linear layers of a block, step by step, while a caller replaces their weights.

A *step* is the linear layers that take the very same input. `steps_of` runs a block once: it stops at each step, and
goes on with the weights that the layers have by then.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
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
    """A transformers ViT layer: `ViTLayer.forward` in evaluation mode, or `only_class_token`'s way through it.

    Of all tokens it keeps the residual stream and what the attention mixes; norms and the MLP's inner values are
    computed again where they are needed, since a wide model's would fill the memory.
    """

    def __init__(self, block: ViTLayer, parts: list[Part], frozen: bool) -> None:
        self.block, self.frozen = block, frozen
        self.stream: list[Any] = [args[0] for args, _ in parts]
        self.rest: list[Part] = [(args[1:], kwargs) for args, kwargs in parts]
        self.outputs: list[Any] = []

    def __iter__(self) -> Iterator[Step]:
        attention, mlp = self.block.attention, self.block.mlp
        mixed = yield from self._attention_steps()
        yield Step((attention.o_proj,), mixed, self.stream)
        for number, tokens in enumerate(mixed):
            self.stream[number] = attention.o_proj(tokens) + self.stream[number]
        del mixed, tokens
        yield Step((mlp.fc1,), map(self.block.layernorm_after, self.stream), None)
        yield Step((mlp.fc2,), self._finished() if self.frozen else self._inner(), self.stream)
        if not self.frozen:
            for _ in self._finished():
                pass

    def _attention_steps(self) -> Generator[Step, None, list[Tensor]]:
        """Up to what the output projection takes, which is returned; the stream is what its output is added to."""
        block, attention = self.block, self.block.attention
        if not reads_class_token_only(block):
            yield Step((attention.q_proj, attention.k_proj, attention.v_proj), self._normed(), None)
            return [self._mixed(tokens, part) for tokens, part in zip(self._normed(), self.rest, strict=True)]
        yield Step((attention.q_proj,), (tokens[:, :1] for tokens in self._normed()), None)
        yield Step((attention.k_proj, attention.v_proj), self._normed(), None)
        mixed = [attended(attention, tokens[:, :1], tokens) for tokens in self._normed()]
        self.stream = [tokens[:, :1] for tokens in self.stream]
        return mixed

    def _normed(self) -> Iterator[Tensor]:
        """The inputs of query, key and value."""
        return map(self.block.layernorm_before, self.stream)

    def _mixed(self, normed: Tensor, part: Part) -> Tensor:
        """What the output projection takes."""
        attention, (args, kwargs) = self.block.attention, part
        return inputs_of(attention, attention.o_proj, ((normed, *args), kwargs))

    def _inner(self) -> Iterator[Tensor]:
        """The inputs of the last layer."""
        for tokens in self.stream:
            yield self.block.mlp.activation_fn(self.block.mlp.fc1(self.block.layernorm_after(tokens)))

    def _finished(self) -> Iterator[Tensor]:
        """The same, each with the block's output; the stream is let go of as it is read."""
        for number, inner in enumerate(self._inner()):
            self.outputs.append(self.block.mlp.fc2(inner) + self.stream[number])
            yield inner
            self.stream[number] = None


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
