"""The optimum-quanto side: integer widths quanto lacks, the packed weight, the linear layer.

Cut as quanto is: what a weight *is* (`PackedWeight`, a `QTensor`), what *uses* it (`PackedLinear`, a
`QLinear`), what *computes* it (`unpack_weight`). A frozen layer keeps its weight as plain buffers (packed
codes, scales), so that copying, moving, saving and compiling need nothing special; the `QTensor` is a view
of them, made when somebody asks for ``layer.weight``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from optimum.quanto import QLinear, QTensor, qtype, qtypes
from optimum.quanto.tensor.qtype import qint
from torch import Tensor, nn
from transformers import PreTrainedModel

from .errors import MisfitError
from .grids import Grid, quantize, scale_shape
from .naming import backbone_linears
from .packing import pack, packed_size, unpack

__all__ = [
    "Packed",
    "PackedLinear",
    "PackedWeight",
    "pack_weight",
    "packed_layers",
    "refuse_packed",
    "swap_linears_",
    "unpack_weight",
]

for _bits in (3, 5, 6, 7):
    qtypes.setdefault(f"qint{_bits}", qint(_bits))

PACKED, SCALE, SHIFT = "weight_packed", "weight_scale", "weight_shift"


def refuse_packed(model: PreTrainedModel) -> dict[str, Any]:
    """The linear layers of a float model's backbone, by name.

    Raises:
        MisfitError: when the model is quantized already, or has no linear layer to quantize.
    """
    linears = dict(backbone_linears(model))
    quantized = [name for name, module in linears.items() if isinstance(module, QLinear)]
    if quantized:
        raise MisfitError(f"{quantized[0]} is quantized already; start from the float model")
    if not linears:
        raise MisfitError(f"{type(model).__name__} keeps no linear layer as nn.Linear, so there is nothing to quantize")
    return linears


def swap_linears_(model: PreTrainedModel, grid: Grid) -> dict[str, PackedLinear]:
    """Put an unfrozen `PackedLinear` in the place of every linear layer of the backbone; weights are shared."""
    linears = refuse_packed(model)
    swapped = {name: PackedLinear.from_linear(module, grid) for name, module in linears.items()}
    for name, module in swapped.items():
        model.set_submodule(name, module)
    return swapped


def packed_layers(model: nn.Module) -> list[PackedLinear]:
    """The layers of a model whose weight is packed."""
    return [module for module in model.modules() if isinstance(module, PackedLinear) and module.frozen]


class Packed(NamedTuple):
    """What a frozen layer keeps: dense codes (uint8), scales and shifts (float32, see `grids.Quantized`)."""

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
        scale: float32 ``(rows, groups)``; see `grids.Quantized`.
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
        super().__init__(qtypes[f"qint{grid.bits}"], 0)
        self.grid, self._data, self._scale, self._shift = grid, data, scale, shift

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
        # Whatever else is asked of a quantized weight is asked of its float values.
        args, kwargs = torch.utils._pytree.tree_map_only(PackedWeight, lambda t: t.dequantize(), (args, kwargs or {}))
        return op(*args, **kwargs)


class PackedLinear(QLinear):
    """quanto's `QLinear` on a `Grid`: dynamic rounding until `freeze`, packed buffers after it."""

    grid: Grid
    weight_packed: Tensor  # uint8, dense codes
    weight_scale: Tensor  # float32 (rows, groups)
    weight_shift: Tensor | None  # float32 (rows, groups) on an affine grid

    @classmethod
    def from_linear(cls, linear: nn.Linear, grid: Grid) -> PackedLinear:
        """An unfrozen layer that shares the parameters of `linear`."""
        with torch.device("meta"):
            module = cls(linear.in_features, linear.out_features, linear.bias is not None, weights=_qtype(grid))
        module.grid = grid
        # Activations stay float here: without these two buffers state dicts hold weights alone.
        module.input_scale = module.output_scale = None
        module.register_parameter("weight", linear.weight)
        module.register_parameter("bias", linear.bias)
        return module.train(linear.training)

    def to_linear(self, weight: nn.Parameter) -> nn.Linear:
        """A plain layer with the given float weight and this layer's bias."""
        with torch.device("meta"):
            linear = nn.Linear(self.in_features, self.out_features, self.bias is not None)
        linear.weight, linear.bias = weight, self.bias
        return linear.train(self.training)

    def reset_parameters(self) -> None:
        """Nothing to draw at random: the parameters come from the layer this one replaces."""

    @property
    def frozen(self) -> bool:
        return PACKED in self._buffers

    @property
    def weight(self) -> Any:
        """The float parameter until `freeze`, a `PackedWeight` view of the buffers after it."""
        if self.frozen:
            size = torch.Size((self.out_features, self.in_features))
            dtype = self.weight_scale.dtype if self.bias is None else self.bias.dtype
            return PackedWeight(self.grid, size, self.weight_packed, self.weight_scale, self.weight_shift, dtype)
        try:
            return self._parameters["weight"]
        except KeyError:
            raise AttributeError("weight") from None

    @property
    def qweight(self) -> Any:
        """The weight on the grid: packed when frozen, else rounded now (see `qvec_hub.prepare_qat_` to train)."""
        if self.frozen:
            return self.weight
        weight = self.weight
        return PackedWeight(self.grid, weight.shape, *pack_weight(weight.detach(), self.grid), weight.dtype)

    def freeze(self) -> None:
        """Replace the float weight by packed codes and scales.

        Raises:
            GridError: when the weight holds NaN or infinity; the layer is unchanged then.
        """
        if not self.frozen:
            self.hold(pack_weight(self.weight.detach(), self.grid))

    def reserve(self, device: torch.device | None = None) -> None:
        """Freeze without a weight: empty buffers of the right shapes, by default on the weight's device."""
        shape, device = self.weight.shape, device or self.weight.device
        scale = torch.empty(scale_shape(shape, self.grid), dtype=torch.float32, device=device)
        codes = torch.empty(packed_size(shape.numel(), self.grid.bits), dtype=torch.uint8, device=device)
        self.hold(Packed(codes, scale, None if self.grid.symmetric else torch.empty_like(scale)))

    def hold(self, packed: Packed) -> None:
        """Keep this weight in the place of the float one."""
        self._parameters.pop("weight", None)
        self.register_buffer(PACKED, packed.data)
        self.register_buffer(SCALE, packed.scale)
        self.register_buffer(SHIFT, packed.shift)

    def forward(self, input: Tensor) -> Tensor:
        if not self.frozen:
            return F.linear(input, self.qweight.dequantize(), self.bias)
        size = torch.Size((self.out_features, self.in_features))
        # Dequantizing the weight rather than scaling the output keeps the result bit-equal to the float grid values.
        dtype = input.dtype if self.bias is None else self.bias.dtype
        weight = unpack_weight(self.weight_packed, self.weight_scale, self.weight_shift, self.grid, size, dtype)
        return F.linear(input, weight, self.bias)

    def _apply(self, fn: Any, recurse: bool = True) -> PackedLinear:
        kept = {name: self._buffers[name] for name in (SCALE, SHIFT) if self._buffers.get(name) is not None}
        super()._apply(fn, recurse)
        for name, exact in kept.items():  # `.to(dtype)` is for activations: the grid keeps its float32 scales
            moved = self._buffers[name]
            if exact is not None and moved is not None and moved.dtype != exact.dtype:
                self._buffers[name] = exact.to(moved.device)
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        nn.Module._save_to_state_dict(self, destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        if not self.frozen and prefix + PACKED in state_dict:
            self.reserve()
        nn.Module._load_from_state_dict(self, state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, grid={self.grid.name}, frozen={self.frozen}"


def unpack_weight(
    packed: Tensor, scale: Tensor, shift: Tensor | None, grid: Grid, size: torch.Size, dtype: torch.dtype
) -> Tensor:
    """Packed codes -> the float weight ``size``: ``q * scale`` or ``q * scale - shift``, formed in float32."""
    values = unpack(packed, grid.bits, size.numel(), offset=grid.qmin).view(size)  # (out, in)
    if grid.group_size is None:
        values.mul_(scale)
        if shift is not None:
            values.sub_(shift)
    else:
        per_weight = scale.repeat_interleave(grid.group_size, dim=1)[:, : size[1]]  # (out, in)
        values.mul_(per_weight)
        if shift is not None:
            values.sub_(shift.repeat_interleave(grid.group_size, dim=1)[:, : size[1]])
    return values.to(dtype)


def _qtype(grid: Grid) -> qtype:
    return qtypes[f"qint{grid.bits}"]
