"""Find codes and scales under fixed conditions that do not depend on the caller's settings.

What a matrix product gives in its last bits depends on where its arguments lie in memory, on whether they want
gradients and on the number of threads. The first two are made the same here, so that one model and one request give
the same codes, whether the model was mapped from a file or built in memory; the number of threads is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["off_meta", "on_copies", "settle_", "usual_settings"]


@contextmanager
def usual_settings() -> Iterator[None]:
    """float32 on the CPU by default, no autocast, no gradients, no inference mode; as before when this ends.

    Inference mode is left because its tensors cannot be tuned. The default dtype belongs to the whole process, so it
    is touched only where it is another one.
    """
    dtype = torch.get_default_dtype()
    with ExitStack() as settings:
        settings.enter_context(torch.inference_mode(False))
        settings.enter_context(torch.no_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                settings.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            settings.enter_context(torch.device("cpu"))
        if dtype != torch.float32:
            settings.callback(torch.set_default_dtype, dtype)
            torch.set_default_dtype(torch.float32)
        yield


def off_meta() -> AbstractContextManager[object]:
    """The CPU as default device where it is the meta device, on which transformers loads no weights."""
    return torch.device("cpu") if torch.get_default_device().type == "meta" else nullcontext()


@contextmanager
def on_copies(model: nn.Module, dropped: Collection[Tensor] = ()) -> Iterator[None]:
    """The model computes with copies of its tensors, which may be changed; it has its own again when this ends.

    The copies are contiguous, in memory of their own (which PyTorch aligns), and want no gradients. A tensor that
    several modules share stays shared.

    Args:
        dropped: tensors of the model whose values nobody needs afterwards, and which are like such copies already
            (see `settle_`): of these none are made.
    """
    own = [(module, dict(module._parameters), dict(module._buffers)) for module in model.modules()]
    copies = {id(tensor): tensor for tensor in dropped}

    def copy(tensor: Tensor) -> Any:
        if id(tensor) not in copies:
            fresh = tensor.detach().clone(memory_format=torch.contiguous_format)
            copies[id(tensor)] = nn.Parameter(fresh, False) if isinstance(tensor, nn.Parameter) else fresh
        return copies[id(tensor)]

    try:
        for module, parameters, buffers in own:
            for name, tensor in parameters.items():
                module._parameters[name] = None if tensor is None else copy(tensor)
            for name, buffer in buffers.items():
                module._buffers[name] = None if buffer is None else copy(buffer)
        yield
    finally:
        for module, parameters, buffers in own:
            module._parameters.update(parameters)
            module._buffers.update(buffers)


def settle_(model: nn.Module, value: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor) -> None:
    """Give a model's parameters memory of their own for good, as `on_copies` does for a while.

    Args:
        value: what a parameter is to hold, from its name and what it holds.
    """

    def fresh(name: str, parameter: nn.Parameter) -> nn.Parameter:
        kept = value(name, parameter.detach()).clone(memory_format=torch.contiguous_format)
        return nn.Parameter(kept, parameter.requires_grad)  # a new one: one made in inference mode cannot be changed

    renewed = {id(parameter): fresh(name, parameter) for name, parameter in model.named_parameters()}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = renewed[id(parameter)]
