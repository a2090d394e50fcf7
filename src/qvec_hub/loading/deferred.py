"""Load deferred: keep arriving weights in float until all are there, then find scale and codes on the whole model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..apply.choose_scale import ScaleChoice
from ..apply.treatment import Treatment, prepare_
from ..backbone.conditions import settle_, usual_settings
from ..errors import QVecError
from ..grid.packing import pack
from ..layers.packed_linear import PackedLinear
from ..layers.packed_weight import Packed
from ..util.progress import Stages
from ..vector.vector import QuantizationVector

__all__ = ["DeferredLoad"]


class DeferredLoad:
    """Collects the checkpoint's tensors as they arrive, then patches, rounds and packs the whole model.

    Args:
        vector: added to the model before rounding; None adds nothing.
        treatment: from `Treatment.resolved`.
    """

    def __init__(self, vector: QuantizationVector | None, treatment: Treatment, progress: Stages | None) -> None:
        self.vector, self.treatment, self.progress = vector, treatment, progress
        self._tensors: dict[str, Tensor] = {}

    def take(self, name: str, tensor: Tensor, layer: PackedLinear | None) -> dict[str, Any]:
        """Keep a tensor; return the tensors that transformers must put into the model."""
        self._tensors[name] = tensor
        if layer is None:
            return {name: tensor}
        layer.reserve(tensor.device)
        return {}

    def close(self) -> None:
        self._tensors.clear()

    @usual_settings()
    def prepare_(
        self, model: PreTrainedModel, layers: Mapping[str, PackedLinear], grid: Any, check_lineage: bool
    ) -> tuple[ScaleChoice | None, float]:
        """Make the loaded model the float receiver for a moment, find its codes, and pack them.

        Raises:
            QVecError: when the model is spread over devices, or `qvec_hub.apply.treatment.prepare_` fails.
        """
        devices = {parameter.device for parameter in (*model.parameters(), *model.buffers())}
        if len(devices) != 1 or torch.device("meta") in devices:
            raise QVecError(
                "device_map: scale='auto' and rounding with images need the model on one device, found "
                f"{', '.join(sorted(map(str, devices)))}; load it on one, or pass a number and rounding='nearest'"
            )
        dtypes = {name: parameter.dtype for name, parameter in model.named_parameters()}
        for name, layer in layers.items():
            weight = self._tensors.pop(f"{name}.weight").float()
            model.set_submodule(name, layer.to_linear(nn.Parameter(weight, False)))
        settle_(model, lambda name, tensor: self._tensors.pop(name, tensor).float())
        constants = [(buffer, buffer.data) for buffer in model.buffers() if buffer.is_floating_point()]
        for buffer, exact in constants:
            buffer.data = exact.float()
        progress = self.progress
        found, choice, scale = prepare_(
            model, self.vector, grid, self.treatment, check_lineage=check_lineage, progress=progress
        )
        for name, layer in layers.items():
            codes, scales, shift = found[name]
            layer.bias = model.get_submodule(name).bias  # the patched one
            model.set_submodule(name, layer)
            layer.hold(Packed(pack(codes, grid.bits, overwrite=True), scales, shift))
        for name, parameter in model.named_parameters():
            parameter.data = parameter.data.to(dtypes[name])
        for buffer, exact in constants:
            buffer.data = exact
        return choice, scale
