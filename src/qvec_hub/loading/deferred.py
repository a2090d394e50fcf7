"""Load deferred: keep arriving weights in float until all are there, then find scale and codes on the whole model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..apply.treatment import Treatment, prepare_
from ..artifact.model_record import OWN_IMAGES, PROXIES
from ..backbone.conditions import settle_, usual_settings
from ..backbone.processor import remember_processor_beside_
from ..errors import QVecError
from ..grid.grid import Grid
from ..grid.packing import pack
from ..layers.packed_linear import PackedLinear
from ..layers.packed_weight import Packed
from ..util.progress import Stages
from ..vector.vector import QuantizationVector
from .load import Outcome

__all__ = ["DeferredLoad"]


class DeferredLoad:
    """A `Load` that keeps the tensors as they arrive, then patches, rounds and packs the whole model.

    Args:
        vector: added to the model before rounding; None adds nothing.
        treatment: from `Treatment.resolved`.
        weights_file: first file of the receiver's checkpoint, beside which its image processor lies; None without one.
        hub: token and cache settings, to fetch that processor with.
        check_lineage: refuse a receiver that does not descend from the vector's base.
        progress: see `QVecConfig`.
    """

    def __init__(
        self,
        vector: QuantizationVector | None,
        treatment: Treatment,
        grid: Grid,
        weights_file: str | None,
        hub: dict[str, Any],
        *,
        check_lineage: bool,
        progress: Stages | None,
    ) -> None:
        self.vector, self.treatment, self.grid = vector, treatment, grid
        self.weights_file, self.hub = weights_file, hub
        self.check_lineage, self.progress = check_lineage, progress
        self._tensors: dict[str, Tensor] = {}
        self._layers: dict[str, PackedLinear] = {}

    def receive(self, name: str, tensor: Tensor, layer: PackedLinear | None, dtype: torch.dtype) -> dict[str, Tensor]:
        self._tensors[name] = tensor
        if layer is None:
            return {name: tensor}
        self._layers[name.removesuffix(".weight")] = layer
        layer.reserve(tensor.device)
        return {}

    @usual_settings()
    def finish(self, model: PreTrainedModel) -> Outcome:
        """Make the loaded model the float receiver for a moment, find its codes, and pack them.

        Raises:
            QVecError: when the model is spread over devices, or `qvec_hub.apply.treatment.prepare_` fails.
        """
        _refuse_spread(model)
        if self.weights_file is not None:
            remember_processor_beside_(model, self.weights_file, **self.hub)
        dtypes = {name: parameter.dtype for name, parameter in model.named_parameters()}
        for name, layer in self._layers.items():
            weight = self._tensors.pop(f"{name}.weight").float()
            model.set_submodule(name, layer.to_linear(nn.Parameter(weight, False)))
        settle_(model, lambda name, tensor: self._tensors.pop(name, tensor).float())
        constants = [(buffer, buffer.data) for buffer in model.buffers() if buffer.is_floating_point()]
        for buffer, exact in constants:
            buffer.data = exact.float()
        found, choice, scale = prepare_(
            model, self.vector, self.grid, self.treatment, check_lineage=self.check_lineage, progress=self.progress
        )
        for name, layer in self._layers.items():
            codes, scales, shift = found[name]
            layer.bias = model.get_submodule(name).bias  # the patched one
            model.set_submodule(name, layer)
            layer.hold(Packed(pack(codes, self.grid.bits, overwrite=True), scales, shift))
        for name, parameter in model.named_parameters():
            parameter.data = parameter.data.to(dtypes[name])
        for buffer, exact in constants:
            buffer.data = exact
        curve = None if choice is None else [list(point) for point in choice.curve]
        return Outcome(scale, curve, PROXIES if self.treatment.images is None else OWN_IMAGES)

    def close(self) -> None:
        self._tensors.clear()
        self._layers.clear()


def _refuse_spread(model: PreTrainedModel) -> None:
    devices = {parameter.device for parameter in (*model.parameters(), *model.buffers())}
    if len(devices) != 1 or torch.device("meta") in devices:
        raise QVecError(
            "device_map: scale='auto' and rounding with images need the model on one device, found "
            f"{', '.join(sorted(map(str, devices)))}; load it on one, or pass a number and rounding='nearest'"
        )
