"""The quantized weight: packed codes and scales, and a quanto tensor that shows them as float values."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from optimum.quanto import QTensor, qtypes
from optimum.quanto.tensor.qtype import qint, qtype
from torch import Tensor
from torch.utils._pytree import tree_map_only

from ..grid.code_levels import code_levels
from ..grid.codes import values_
from ..grid.grid import Grid
from ..grid.packing import pack, unpack
from ..grid.quantize import quantize, spread_units
from .frozen import Values, is_view, refuse_change, written_to

__all__ = ["Packed", "PackedWeight", "pack_weight", "quanto_type", "unpack_weight"]

for _bits in (3, 5, 6, 7):
    qtypes.setdefault(f"qint{_bits}", qint(_bits))


def quanto_type(grid: Grid) -> qtype:
    """The narrowest of quanto's types that holds a grid's codes."""
    return qtypes[f"qint{math.ceil(grid.bits)}"]


class Packed(NamedTuple):
    """The tensors of a frozen layer: dense codes (uint8), scales and shifts (float32, see `Quantized`)."""

    data: Tensor
    scale: Tensor
    shift: Tensor | None


def pack_weight(weight: Tensor, grid: Grid, overwrite: bool = False) -> Packed:
    """Round a weight to the grid and pack its codes; with `overwrite` the weight's memory serves as scratch.

    Raises:
        GridError: when the weight holds NaN or infinity.
    """
    codes, scale, shift = quantize(weight, grid, overwrite)
    return Packed(pack(codes, grid.bits, overwrite=True), scale, shift)


class PackedWeight(QTensor):
    """A weight ``(out, in)`` as packed codes and scales: quanto's quantized tensor for any grid.

    Args:
        data: uint8, `packed_size(out * in, bits)` bytes.
        scale: float32 ``(rows, groups)``, see `Quantized`.
        shift: like `scale`, or None on a symmetric grid.
    """

    @staticmethod
    def __new__(
        cls: type, grid: Grid, size: torch.Size, data: Tensor, scale: Tensor, shift: Tensor | None, dtype: torch.dtype
    ) -> Any:
        stride = (size[1], 1)
        return torch.Tensor._make_wrapper_subclass(cls, size, strides=stride, dtype=dtype, device=data.device)

    def __init__(
        self, grid: Grid, size: torch.Size, data: Tensor, scale: Tensor, shift: Tensor | None, dtype: torch.dtype
    ) -> None:
        super().__init__(quanto_type(grid), 0)
        self.grid, self._data, self._scale, self._shift = grid, data, scale, shift
        self._is_hf_initialized = True  # or transformers draws CLIP's weights at random once they are loaded

    @property
    def data(self) -> Tensor:
        return self

    @data.setter
    def data(self, values: Tensor) -> None:
        refuse_change(self._shown())

    def __setitem__(self, place: Any, values: Any) -> None:
        refuse_change(self._shown())

    def dequantize(self) -> Tensor:
        """The float weight ``(out, in)`` in this tensor's dtype."""
        return unpack_weight(self._data, self._scale, self._shift, self.grid, self.shape, self.dtype)

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"PackedWeight({tuple(self.shape)}, {self.grid.name}, {self._data.numel()} bytes of codes)"

    def __tensor_flatten__(self) -> tuple[list[str], tuple[Any, ...]]:
        inner = ["_data", "_scale"] + ([] if self._shift is None else ["_shift"])
        return inner, (self.grid, self.dtype)

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], meta: tuple[Any, ...], size: Any, stride: Any) -> PackedWeight:
        grid, dtype = meta
        return PackedWeight(grid, torch.Size(size), inner["_data"], inner["_scale"], inner.get("_shift"), dtype)

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if op.overloadpacket is torch.ops.aten.detach:
            return args[0]
        changed = written_to(op, args, kwargs or {}, PackedWeight)
        if changed is not None:
            refuse_change(changed._shown())
        # All other operations run on the float values.
        args, kwargs = tree_map_only(PackedWeight, lambda t: t.dequantize(), (args, kwargs or {}))
        result = op(*args, **kwargs)
        if not is_view(op) or torch.compiler.is_compiling():
            return result
        return tree_map_only(Tensor, lambda t: t.as_subclass(Values), result)

    def _shown(self) -> str:
        return f"a weight {tuple(self.shape)} on {self.grid.name}"


def unpack_weight(
    packed: Tensor, scale: Tensor, shift: Tensor | None, grid: Grid, size: torch.Size, dtype: torch.dtype
) -> Tensor:
    """Unpack codes into the float weight of shape ``size``: ``q * scale`` or ``q * scale - shift``, in float32."""
    if grid.trellis:
        levels = code_levels(unpack(packed, grid.bits, size.numel(), torch.uint8).view(size), grid)
    else:
        levels = unpack(packed, grid.bits, size.numel(), offset=grid.qmin).view(size)  # (out, in)
    shift = None if shift is None else spread_units(shift, size, grid)
    return values_(levels, spread_units(scale, size, grid), shift).to(dtype)
