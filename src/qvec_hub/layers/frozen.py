"""Refuse changes of a packed weight's float values, which would be lost.

The float values of a packed weight are computed again for each reader. A value written to them (by merging an
adapter, an initialization, pruning, or a state dict of the float model) would be lost silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from ..errors import QVecError

__all__ = ["FrozenParameters", "Values", "is_view", "refuse_change", "refuse_other_state", "written_to"]

WEIGHT = "weight"
_IN_PLACE = {f"__i{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor")}
_WRITES = {"__setitem__", "__set__", "__ilshift__", "__irshift__", *_IN_PLACE}
_HARMLESS = {"requires_grad_"}


def refuse_change(what: str) -> NoReturn:
    """Raise the error for every attempt to change a packed weight.

    Raises:
        QVecError: always.
    """
    raise QVecError(
        f"{what} is packed, and its float values are a copy: a change of them would be lost. Change the float model "
        "(merge adapters, prune, load weights), then quantize it"
    )


def written_to(op: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], kind: type) -> Any:
    """The first argument of this kind that a PyTorch operator would write to; None if there is none."""
    for place, argument in enumerate(op._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            for leaf in tree_leaves(value):
                if isinstance(leaf, kind):
                    return leaf
    return None


def is_view(op: Any) -> bool:
    """Whether the result of a PyTorch operator shares its argument's memory."""
    return any(each.alias_info is not None and not each.alias_info.is_write for each in op._schema.returns)


class Values(Tensor):
    """A view of a packed weight's values, such as ``weight[0]`` or ``weight.T``, for reading and computing.

    Raises:
        QVecError: when it is written to, because the weight would not change; write to a ``clone()`` instead.
    """

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        writes = name in _WRITES or (name.endswith("_") and not name.startswith("__") and name not in _HARMLESS)
        target = args[0] if writes and args else kwargs.get("out")
        if isinstance(target, Values):
            refuse_change(f"the weight that these {tuple(target.shape)} values belong to")
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
            ours = {value.untyped_storage()._cdata for value in tree_leaves((args, kwargs)) if isinstance(value, cls)}
            return tree_map_only(
                Tensor, lambda t: t.as_subclass(cls) if t.untyped_storage()._cdata in ours else t, result
            )


class FrozenParameters(dict[str, Any]):
    """The parameters of a frozen layer by name; code that looks up the weight here is about to replace it.

    Raises:
        QVecError: when ``"weight"`` is looked up.
    """

    def __contains__(self, name: object) -> bool:
        return super().__contains__(self._known(name))

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(self._known(name))

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(self._known(name), value)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(self._known(name))

    @staticmethod
    def _known(name: Any) -> Any:
        return refuse_change("the weight of this layer") if name == WEIGHT else name


def refuse_other_state(
    prefix: str, state: Mapping[str, Any], frozen: bool, grid: object, expected: Mapping[str, Tensor | None]
) -> None:
    """Raise unless a state dict fits a packed layer.

    Args:
        prefix: prefix of the layer's names in the state dict.
        frozen: whether the layer's weight is packed.
        expected: by name, the tensors of a packed layer of this grid; None for a tensor that only other grids have.

    Raises:
        QVecError: when it holds the float weight of a frozen layer, packed codes of another grid, or scales that are
            rounded to another dtype.
    """
    if frozen and prefix + WEIGHT in state:
        refuse_change(f"load_state_dict brings a float {prefix}{WEIGHT}, but the weight of this layer")
    found = {name: state[prefix + name] for name in expected if prefix + name in state}
    for name, tensor in found.items():
        wanted = expected[name]
        if wanted is None or tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            meant = "none" if wanted is None else f"{tuple(wanted.shape)} {wanted.dtype}"
            raise QVecError(
                f"load_state_dict: {prefix}{name} is {tuple(tensor.shape)} {tensor.dtype}, {grid} has {meant}; "
                "load what a model of the same grid gave as its state dict"
            )
