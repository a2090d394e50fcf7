"""The packed linear layer for optimum-quanto, with the integer widths that quanto lacks.

The parts follow quanto's: the weight (`PackedWeight`, a `QTensor`), the layer that uses it (`PackedLinear`, a
`QLinear`) and the function that computes it (`unpack_weight`). A frozen layer keeps its weight as plain buffers (packed
codes, scales), so that copying, moving, saving and compiling need nothing special; ``layer.weight`` is a view of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from optimum.quanto import QLinear
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..backbone.names import backbone_linears
from ..errors import MisfitError
from ..grid.grid import Grid
from ..grid.packing import packed_size
from ..grid.quantize import scale_shape
from .frozen import FrozenParameters, refuse_change, refuse_other_state
from .packed_weight import Packed, PackedWeight, pack_weight, quanto_type, unpack_weight

__all__ = [
    "Packed",
    "PackedLinear",
    "PackedWeight",
    "pack_weight",
    "packed_layers",
    "put_layers_",
    "refuse_packed",
    "swap_linears_",
    "unpack_weight",
]

PACKED, SCALE, SHIFT = "weight_packed", "weight_scale", "weight_shift"
FORWARD_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_is_full_backward_hook",
    "_non_full_backward_hooks",
)


def refuse_packed(model: PreTrainedModel) -> dict[str, Any]:
    """List the linear layers of a float model's backbone by name.

    Raises:
        MisfitError: when the model is already quantized, has no linear layer to quantize, or has one whose weight is
            parametrized or whose forward pass is replaced.
    """
    linears = dict(backbone_linears(model))
    quantized = [name for name, module in linears.items() if isinstance(module, QLinear)]
    if quantized:
        raise MisfitError(f"{quantized[0]} is quantized already; start from the float model")
    for name, module in linears.items():
        if not isinstance(module._parameters.get("weight"), nn.Parameter):
            raise MisfitError(
                f"{name}: its weight is no parameter but computed (a parametrization, pruning, weight norm); make it "
                "permanent first, e.g. by torch.nn.utils.parametrize.remove_parametrizations"
            )
        if "forward" in vars(module):
            raise MisfitError(
                f"{name}: its forward pass was replaced (as accelerate's offloading does), which would be lost; "
                "quantize first, or remove the hooks"
            )
    if not linears:
        raise MisfitError(f"{type(model).__name__} keeps no linear layer as nn.Linear, so there is nothing to quantize")
    return linears


def swap_linears_(model: PreTrainedModel, grid: Grid) -> dict[str, PackedLinear]:
    """Replace every linear layer of the backbone by an unfrozen `PackedLinear` that shares its weight.

    Returns:
        The new layers by name.

    Raises:
        MisfitError: as `refuse_packed`.
    """
    linears = refuse_packed(model)
    swapped = {name: PackedLinear.from_linear(module, grid) for name, module in linears.items()}
    put_layers_(model, swapped)
    return swapped


def put_layers_(model: PreTrainedModel, layers: Mapping[str, PackedLinear]) -> None:
    """Replace a model's linear layers by name; the model then refuses state dicts of other grids."""
    replaced = {model.get_submodule(name): layer for name, layer in layers.items()}
    everywhere = [(name, module) for name, module in model.named_modules(remove_duplicate=False) if module in replaced]
    for name, module in everywhere:  # a layer may stand in several places
        model.set_submodule(name, replaced[module])
    if layers:
        model.register_load_state_dict_pre_hook(_refuse_other_state)


def _refuse_other_state(model: nn.Module, state_dict: Any, prefix: str, *_: Any) -> None:
    """Raise unless a state dict fits all packed layers of a model, before any of it is loaded."""
    for name, module in model.named_modules():
        if isinstance(module, PackedLinear):
            module.refuse_other_state(state_dict, f"{prefix}{name}.")


def packed_layers(model: nn.Module) -> list[PackedLinear]:
    """List the layers of a model whose weight is packed."""
    return [module for module in model.modules() if isinstance(module, PackedLinear) and module.frozen]


class PackedLinear(QLinear):
    """quanto's `QLinear` on a `Grid`: dynamic rounding until `freeze`, packed buffers after it."""

    grid: Grid
    float_dtype: torch.dtype = torch.float32  # of the model, where no bias tells
    weight_packed: Tensor  # uint8, dense codes
    weight_scale: Tensor  # float32 (rows, groups)
    weight_shift: Tensor | None  # float32 (rows, groups) on an affine grid

    @classmethod
    def from_linear(cls, linear: nn.Linear, grid: Grid) -> PackedLinear:
        """Make an unfrozen layer that shares the parameters of `linear`."""
        with torch.device("meta"):
            module = cls(linear.in_features, linear.out_features, linear.bias is not None, weights=quanto_type(grid))
        module.grid, module.float_dtype = grid, linear.weight.dtype
        # Activations stay float here: without these two buffers state dicts hold weights alone.
        module.input_scale = module.output_scale = None
        module.register_parameter("weight", linear.weight)
        module.register_parameter("bias", linear.bias)
        for name in FORWARD_HOOKS:  # the same dictionaries, so that handles of existing hooks can still remove them
            if name in vars(linear):
                module.__dict__[name] = vars(linear)[name]
        return module.train(linear.training)

    def to_linear(self, weight: nn.Parameter) -> nn.Linear:
        """Make a plain `nn.Linear` with the given float weight and this layer's bias."""
        with torch.device("meta"):
            linear = nn.Linear(self.in_features, self.out_features, self.bias is not None)
        linear.weight, linear.bias = weight, self.bias
        return linear.train(self.training)

    def reset_parameters(self) -> None:
        """Nothing to draw at random: the parameters come from the layer this one replaces."""

    @property
    def frozen(self) -> bool:
        """Whether the weight is packed."""
        return PACKED in self._buffers

    @property
    def weight(self) -> Any:
        """The float parameter ``(out, in)`` until `freeze`, a `PackedWeight` view of the buffers after it.

        Raises:
            AttributeError: when there is neither.
        """
        if self.frozen:
            size = torch.Size((self.out_features, self.in_features))
            dtype = self.float_dtype if self.bias is None else self.bias.dtype
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
        self.hold(self._empty(device or self.weight.device))

    def _empty(self, device: torch.device) -> Packed:
        shape = torch.Size((self.out_features, self.in_features))
        # float32 whatever the default dtype: a load in bfloat16 makes that one the default.
        scale = torch.empty(scale_shape(shape, self.grid), dtype=torch.float32, device=device)
        codes = torch.empty(packed_size(shape.numel(), self.grid.bits), dtype=torch.uint8, device=device)
        return Packed(codes, scale, None if self.grid.symmetric else torch.empty_like(scale))

    def hold(self, packed: Packed) -> None:
        """Replace the float weight by this packed one."""
        parameters = self.__dict__["_parameters"]
        parameters.pop("weight", None)
        self.__dict__["_parameters"] = FrozenParameters(parameters)
        self.register_buffer(PACKED, packed.data)
        self.register_buffer(SCALE, packed.scale)
        self.register_buffer(SHIFT, packed.shift)

    def forward(self, input: Tensor) -> Tensor:
        """``(…, in)`` -> ``(…, out)``."""
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
        if self.frozen:
            self.float_dtype = fn(torch.empty(0, dtype=self.float_dtype, device=self.weight_packed.device)).dtype
        for name, exact in kept.items():  # `.to(dtype)` is for activations: the grid keeps its float32 scales
            moved = self._buffers[name]
            if exact is not None and moved is not None and moved.dtype != exact.dtype:
                self._buffers[name] = exact.to(moved.device)
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        nn.Module._save_to_state_dict(self, destination, prefix, keep_vars)

    def register_parameter(self, name: str, param: Any) -> None:
        if isinstance(param, PackedWeight):  # as torch.nn.utils.prune does
            refuse_change(param._shown())
        super().register_parameter(name, param)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        self.refuse_other_state(state_dict, prefix)
        if not self.frozen and prefix + PACKED in state_dict:
            self.reserve()
        nn.Module._load_from_state_dict(self, state_dict, prefix, *args)

    def refuse_other_state(self, state_dict: Any, prefix: str) -> None:
        """Raise unless a state dict fits this layer, whose names there begin with `prefix`.

        Raises:
            QVecError: see `frozen.refuse_other_state`.
        """
        packed = self._empty(torch.device("meta"))
        expected = {PACKED: packed.data, SCALE: packed.scale, SHIFT: packed.shift}
        refuse_other_state(prefix, state_dict, self.frozen, self.grid.name, expected)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, grid={self.grid.name}, frozen={self.frozen}"
