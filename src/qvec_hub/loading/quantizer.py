"""The transformers plugin: `QVecConfig` and its quantizer. Importing this module registers both.

While transformers loads a float checkpoint, `_PatchAndPack` receives every backbone tensor: it adds the vector's tensor
in float32, then rounds and packs linear weights and drops the float ones, so that there is never a second float model.
A scale or codes that depend on the whole model are found when all tensors have arrived (`DeferredLoad`). A saved model
holds plain buffers, which transformers loads by name.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.core_model_loading import ConversionOps
from transformers.quantizers import HfQuantizer

from ..apply.patch import refuse_misfit
from ..apply.treatment import Treatment
from ..backbone.checkpoint import refuse_absent, refuse_mismatched
from ..backbone.checkpoint_files import place_in_cache
from ..backbone.leftovers import LoadReport, refuse_leftovers
from ..backbone.names import canonical_names
from ..backbone.provenance import keep_folder_, known_origin, remember_origin_
from ..errors import ArtifactError, QVecError
from ..layers.packed_linear import PackedLinear, swap_linears_
from .config import QVecConfig, open_vector
from .deferred import DeferredLoad
from .grid_mismatch import other_grid
from .load import Load
from .record import own_methods_
from .streaming import WeightStream

__all__ = ["QVecQuantizer"]


class QVecQuantizer(HfQuantizer):
    """Replaces the linear layers, hands every arriving tensor to a `Load`, and records what that found."""

    quantization_config: QVecConfig

    def __init__(self, quantization_config: QVecConfig, **kwargs: Any) -> None:
        super().__init__(copy.copy(quantization_config), **kwargs)  # the caller may reuse the config
        self.load: Load | None = None  # while a float checkpoint is read
        self.canonical: dict[str, str] = {}  # run-time name -> canonical name, of tensors the vector changes
        self.layers: dict[str, PackedLinear] = {}
        self.pending: set[str] = set()
        self.report: LoadReport | None = None
        self.failure: Exception | None = None
        self.weights_file: str | None = None  # first file of the receiver's checkpoint

    def validate_environment(self, *args: Any, device_map: Any = None, **kwargs: Any) -> None:
        """Refuse what cannot be loaded, before anything is.

        Raises:
            QVecError: when a layer is placed on the disk.
        """
        placed = device_map.values() if isinstance(device_map, dict) else ()
        if "disk" in placed:
            raise QVecError("device_map: a layer is placed on 'disk'; packed weights are small, place it on 'cpu'")

    def _process_model_before_weight_loading(
        self, model: PreTrainedModel, checkpoint_files: list[str] | None = None, **kwargs: Any
    ) -> PreTrainedModel:
        self.weights_file = checkpoint_files[0] if checkpoint_files else None
        self.report = LoadReport(model)
        if not self.pre_quantized:
            with torch.device("cpu"):  # this hook runs where new tensors are born on the meta device
                self.load = self._open_load(model, checkpoint_files or [])
            self.quantization_config.images = None  # neither tensors nor callables have a place in a config
            self.quantization_config.progress = None
        self.layers = swap_linears_(model, self.quantization_config.grid)
        for layer in self.layers.values():
            layer._is_hf_initialized = True  # nothing to draw at random: a weight that does not arrive is an error
        if self.pre_quantized:
            for layer in self.layers.values():
                layer.reserve()
        self.pending = {f"{name}.weight" for name in self.layers} | set(self.canonical)
        return model

    def _open_load(self, model: PreTrainedModel, files: list[str]) -> Load:
        config = self.quantization_config
        hub, config.hub = config.hub, {}  # a model may be pickled, so it must not hold a token
        vector = open_vector(config.vector, **hub)
        treatment = Treatment(config.scale, config.rounding, config.images).resolved(vector, config.grid)
        config.rounding = treatment.rounding
        if config.grid_is_open:
            config.grid = treatment.grid_of_width(config.grid, vector)
        if vector is not None:
            self.canonical = canonical_names(model)
            state = model.state_dict()
            refuse_misfit(vector, model, {new: tuple(state[name].shape) for name, new in self.canonical.items()})
            if vector.config.grid != config.grid and not (config.grid_is_open and treatment.scale == "auto"):
                warnings.warn(other_grid(vector.config.grid, config.grid), stacklevel=2)
        if treatment.needs_images:
            how: dict[str, Any] = {"check_lineage": config.check_lineage, "progress": config.progress}
            return DeferredLoad(vector, treatment, config.grid, self.weights_file, hub, **how)
        # Only files that this load alone maps: not those of a caller's vector, which may be in use elsewhere.
        ours = [*files, *(vector.files() if vector is not None and config.opened_here else ())]
        return WeightStream(vector, float(treatment.scale or 0.0), self.canonical, config.check_lineage, ours)

    def param_needs_quantization(self, model: PreTrainedModel, param_name: str, **kwargs: Any) -> bool:
        # Only the tensors this plugin changes: for these transformers leaves the shape check to us.
        return not self.pre_quantized and (
            param_name in self.canonical or param_name.removesuffix(".weight") in self.layers
        )

    def get_quantize_ops(self) -> ConversionOps:
        return _PatchAndPack(self)

    def convert(self, name: str, tensor: Tensor, model: PreTrainedModel) -> dict[str, Any]:
        """Hand one arriving tensor to the load; return the tensors that transformers must put into the model.

        Raises:
            ArtifactError: when the tensor has another shape than the model's.
            QVecError: when it cannot be patched, rounded or packed.
        """
        self.pending.discard(name)
        expected = model.get_parameter_or_buffer(name)
        if tuple(tensor.shape) != tuple(expected.shape):
            raise ArtifactError(
                f"{name}: the checkpoint holds shape {tuple(tensor.shape)}, its config.json asks for "
                f"{tuple(expected.shape)}; the receiver's files do not belong together"
            )
        layer = self.layers.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
        assert self.load is not None
        return self.load.receive(name, tensor, layer, expected.dtype)

    def _process_model_after_weight_loading(self, model: PreTrainedModel, **kwargs: Any) -> PreTrainedModel:
        self._remember_origin(model)
        own_methods_(model)
        if self.load is None:
            self._refuse_other_weights(model)
            return model
        load, self.load, self.layers, self.canonical = self.load, None, {}, {}
        try:
            if self.failure is not None:
                raise self.failure
            self._refuse_other_weights(model)
            self._refuse_incomplete()
            found = load.finish(model)
        finally:
            load.close()
        config = self.quantization_config
        config.scale, config.scale_curve, config.watched = found.scale, found.scale_curve, found.watched
        config.receiver = known_origin(model).to_dict()
        if load.vector is not None:
            config.vector = load.vector.provenance()
            config.base_model = load.vector.config.base_model.to_dict()
        for parameter in model.parameters():  # the few tensors that still pin the checkpoint's memory mapping
            if parameter.device.type == "cpu":
                parameter.data = parameter.data.clone()
        return model

    def _refuse_other_weights(self, model: PreTrainedModel) -> None:
        """Raise unless the model's backbone and the checkpoint hold the same tensors."""
        report, self.report = self.report, None
        assert report is not None
        report.close(model)
        source, prefix = model.config._name_or_path, f"{model.base_model_prefix}."
        refuse_leftovers(source, model, report.unexpected)
        if self.pre_quantized:  # its packed weights were never drawn at random: what is missing is any memory's content
            refuse_mismatched(source, [each for each in report.mismatched if each[0].startswith(prefix)])
            refuse_absent(source, model, sorted(name for name in report.missing if name.startswith(prefix)))

    def _refuse_incomplete(self) -> None:
        """Raise unless every backbone weight has arrived."""
        if self.pending:
            some = ", ".join(sorted(self.pending)[:4])
            raise ArtifactError(
                f"{len(self.pending)} backbone weights are not in the receiver's checkpoint ({some}, …) and would be "
                "random; expected a complete checkpoint"
            )

    def _remember_origin(self, model: PreTrainedModel) -> None:
        """Record commit and subfolder on the Hub, or a folder's absolute path: the working directory may change."""
        place = place_in_cache(self.weights_file)
        if place is None:
            remember_origin_(model, model.config._name_or_path, None, None)
            keep_folder_(model)
        else:
            remember_origin_(model, place.repo_id, place.revision, place.subfolder)

    def is_serializable(self) -> bool:
        return True

    @property
    def is_trainable(self) -> bool:
        return False

    @property
    def is_compileable(self) -> bool:
        return True


class _PatchAndPack(ConversionOps):
    """The conversion that transformers runs on each arriving tensor."""

    def __init__(self, quantizer: QVecQuantizer) -> None:
        self.quantizer = quantizer

    @torch.no_grad()
    def convert(  # type: ignore[override]
        self,
        input_dict: dict[str, Any],
        full_layer_name: str,
        model: PreTrainedModel,
        missing_keys: set[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        # Several when transformers splits one tensor of the checkpoint, such as a SwiGLU's, into several of the model.
        names = list(input_dict) if len(input_dict) > 1 else [full_layer_name]
        left: dict[str, Any] = {}
        for name, value in zip(names, input_dict.values(), strict=True):
            if missing_keys is not None:
                missing_keys.discard(name)
            if self.quantizer.failure is not None:
                return {}
            try:
                left |= self.quantizer.convert(name, value[0] if isinstance(value, list) else value, model)
            except Exception as error:  # transformers would log it and continue; we raise it when the load ends
                self.quantizer.failure = error
                return {}
        return left
