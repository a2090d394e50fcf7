"""The transformers plugin: `QVecConfig` and its quantizer. Importing this module registers both.

While a float checkpoint is loaded, every backbone tensor passes through `_PatchAndPack`: the vector's tensor
is added in float32, a linear weight is then rounded and packed, and the float one dropped. At no time is
there a second float model. A scale or codes that depend on what flows through the whole model are found when all of
it has arrived. A saved model holds plain buffers, which transformers loads by name.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.core_model_loading import ConversionOps
from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from .artifact import Source
from .checkpoint import commit_in, known_origin
from .errors import ArtifactError, QVecError
from .gathering import Gathered
from .grids import Grid
from .merge import merge
from .naming import canonical_names
from .other_grid import other_grid
from .patch import refuse_misfit, refuse_stranger
from .prepare import Treatment
from .processor import remember_processor_beside_
from .progress import Stages
from .quanto import PackedLinear, swap_linears_
from .record import METHOD, OWN_IMAGES, PROXIES, push_with_card_, quantization_record
from .streaming import WeightStream
from .vector import QuantizationVector

__all__ = ["METHOD", "QVecConfig", "QVecQuantizer", "VectorLike", "open_vector"]

VectorLike = str | Path | QuantizationVector | Sequence[str | Path | QuantizationVector]


@register_quantization_config(METHOD)
class QVecConfig(QuantizationConfigMixin):
    """How to patch and quantize a ViT while it is loaded, and, in a saved ``config.json``, how that was done.

    Args:
        vector: a repo id (``"org/name"``, ``"org/name@revision"``), a folder, a `QuantizationVector`, a list of
            them (their mean is taken), or None for plain post-training quantization.
        weights: ``"int2"`` … ``"int8"``, a grid's full name, or a `Grid`. A bare width means the vector's own grid,
            where that has this width.
        scale: what the vector is multiplied by: a number, ``"recommended"`` (what its config says) or ``"auto"``
            (chosen on proxy images, see `qvec_hub.choose_scale`). By default auto for several vectors together, and
            recommended for one donor's.
        rounding: ``"nearest"``, ``"gptq"`` (error feedback), ``"fitted"`` (that and fitted scales) or ``"tuned"``
            (that, and all scales tuned together), the last three with what proxy images make flow through the model.
            By default tuned for several vectors whose scale is chosen, else nearest.
        images: pixel values ``(n, channels, height, width)`` to use in the place of proxy images, such as unlabelled
            ones of the receiver's task; the result is then calibrated, not zero-shot.
        progress: called with what is being done, steps done, and of how many.
        check_lineage: refuse a receiver that does not descend from the vector's base.
        token, cache_dir, local_files_only: for fetching vectors, as in `QuantizationVector.from_pretrained`; never
            saved.

    Raises:
        QVecError: when an argument is not one of these.
    """

    def __init__(
        self,
        vector: VectorLike | list[dict[str, Any]] | None = None,
        weights: str | Grid | dict[str, Any] = "int3",
        scale: float | str | None = None,
        check_lineage: bool = True,
        *,
        rounding: str | None = None,
        images: Tensor | None = None,
        progress: Stages | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        **unknown: Any,
    ) -> None:
        self.quant_method = METHOD  # type: ignore[assignment]  # transformers compares it as a string
        self.grid = Grid.parse(unknown.pop("grid", weights))
        self.grid_is_open = isinstance(weights, str) and weights == f"int{self.grid.bits}"
        self.vector = vector
        self.scale = scale
        self.rounding = rounding
        self.images = images
        self.progress = progress
        self.scale_curve = unknown.pop("scale_curve", None)
        self.watched = unknown.pop("watched", None)  # what codes and scale were found with: of a saved config.json
        self.check_lineage = check_lineage
        self.hub = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        self.base_model = unknown.pop("base_model", None)  # these two come from a saved config.json or are found out
        self.receiver = unknown.pop("receiver", None)
        for key in ("quant_method", "qvec_hub_version"):  # of a saved config.json
            unknown.pop(key, None)
        if unknown:
            raise QVecError(f"QVecConfig: unknown arguments {', '.join(sorted(unknown))}")

    def to_dict(self) -> dict[str, Any]:
        """What goes into ``config.json``: provenance instead of tensors."""
        found = {"rounding": self.rounding, "watched": self.watched, "scale_curve": self.scale_curve}
        return quantization_record(
            self.grid, _provenance(self.vector), self.scale, self.base_model, self.receiver, **found
        )


def open_vector(vector: Any, **hub: Any) -> QuantizationVector | None:
    """The vector an argument stands for; a list is merged.

    Raises:
        QVecError: when one cannot be opened, or the list does not merge.
    """
    if vector is None or isinstance(vector, QuantizationVector):
        return vector
    if isinstance(vector, (str, Path)):
        return QuantizationVector.from_pretrained(vector, **hub)
    if isinstance(vector, Mapping) or not isinstance(vector, Sequence):
        raise QVecError(f"vector: expected a repo id, a folder, a QuantizationVector or a list, found {vector!r}")
    opened = [open_vector(item, **hub) for item in vector]
    return merge([item for item in opened if item is not None])


@register_quantizer(METHOD)
class QVecQuantizer(HfQuantizer):
    """Swaps the linear layers, feeds every tensor through patch and pack, and checks the lineage at the end."""

    quantization_config: QVecConfig

    def __init__(self, quantization_config: QVecConfig, **kwargs: Any) -> None:
        super().__init__(copy.copy(quantization_config), **kwargs)  # the caller may use the same config again
        self.stream: WeightStream | Gathered | None = None
        self.canonical: dict[str, str] = {}  # run-time name -> canonical name, of tensors the vector changes
        self.layers: dict[str, PackedLinear] = {}
        self.pending: set[str] = set()
        self.failure: Exception | None = None
        self.commit: str | None = None  # of the receiver, where it comes from the Hub
        self.weights_file: str | None = None  # its first
        self.hub: dict[str, Any] = {}  # while it is loaded

    def validate_environment(self, *args: Any, device_map: Any = None, **kwargs: Any) -> None:
        placed = device_map.values() if isinstance(device_map, dict) else ()
        if "disk" in placed:
            raise QVecError("device_map: a layer is placed on 'disk'; packed weights are small, place it on 'cpu'")

    def _process_model_before_weight_loading(
        self, model: PreTrainedModel, checkpoint_files: list[str] | None = None, **kwargs: Any
    ) -> PreTrainedModel:
        self.weights_file = checkpoint_files[0] if checkpoint_files else None
        self.commit = commit_in(self.weights_file) if self.weights_file else None
        if not self.pre_quantized:
            with torch.device("cpu"):  # this hook runs where new tensors are born on the meta device
                self.stream = self._open_stream(model)
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

    def _open_stream(self, model: PreTrainedModel) -> WeightStream | Gathered:
        config = self.quantization_config
        self.hub, config.hub = config.hub, {}  # a token has no business in a model, which may be pickled
        vector = open_vector(config.vector, **self.hub)
        treatment = Treatment(config.scale, config.rounding, config.images).resolved(vector)
        config.rounding = treatment.rounding
        if vector is not None:
            self.canonical = canonical_names(model)
            state = model.state_dict()
            refuse_misfit(vector, model, {new: tuple(state[name].shape) for name, new in self.canonical.items()})
            if config.grid_is_open and vector.config.grid.bits == config.grid.bits:
                config.grid = vector.config.grid
            if vector.config.grid != config.grid:
                warnings.warn(other_grid(vector.config.grid, config.grid), stacklevel=2)
        if treatment.watches:
            return Gathered(vector, treatment, config.progress)
        return WeightStream(vector, float(treatment.scale or 0.0))

    def param_needs_quantization(self, model: PreTrainedModel, param_name: str, **kwargs: Any) -> bool:
        # Only the tensors this plugin changes: for these transformers leaves the shape check to us.
        return not self.pre_quantized and (
            param_name in self.canonical or param_name.removesuffix(".weight") in self.layers
        )

    def get_quantize_ops(self) -> ConversionOps:
        return _PatchAndPack(self)

    def convert(self, name: str, tensor: Tensor, model: PreTrainedModel) -> dict[str, Any]:
        """Patch one arriving tensor and, if a linear layer's weight, pack it into its layer."""
        self.pending.discard(name)
        expected = model.get_parameter_or_buffer(name)
        if tuple(tensor.shape) != tuple(expected.shape):
            raise ArtifactError(
                f"{name}: the checkpoint holds shape {tuple(tensor.shape)}, its config.json asks for "
                f"{tuple(expected.shape)}; the receiver's files do not belong together"
            )
        layer = self.layers.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
        assert self.stream is not None
        if isinstance(self.stream, Gathered):
            return self.stream.take(name, tensor, layer)
        canonical = self.canonical.get(name, name)
        if layer is None:
            return {name: self.stream.patched(canonical, tensor, expected.dtype)}
        self.stream.put(layer, canonical, tensor, expected.dtype)
        return {}

    def _process_model_after_weight_loading(self, model: PreTrainedModel, **kwargs: Any) -> PreTrainedModel:
        model.config._commit_hash = self.commit
        push_with_card_(model)
        if self.stream is None:
            return model
        stream, layers, hub = self.stream, self.layers, self.hub
        self.stream, self.layers, self.canonical, self.hub = None, {}, {}, {}
        if self.failure is not None:
            stream.close()
            raise self.failure
        if isinstance(stream, WeightStream):
            stream.finish()
        if self.pending:
            some = ", ".join(sorted(self.pending)[:4])
            raise ArtifactError(
                f"{len(self.pending)} backbone weights are not in the receiver's checkpoint ({some}, …) and would be "
                "random; expected a complete checkpoint"
            )
        config = self.quantization_config
        config.receiver = asdict(known_origin(model.config._name_or_path, self.commit))
        if isinstance(stream, Gathered):
            if self.weights_file is not None:
                remember_processor_beside_(model, self.weights_file, **hub)
            choice, config.scale = stream.prepare_(model, layers, config.grid, config.check_lineage)
            config.scale_curve = None if choice is None else [list(point) for point in choice.curve]
            config.watched = PROXIES if stream.treatment.images is None else OWN_IMAGES
        else:
            config.scale = stream.scale
        if stream.vector is not None:
            if config.check_lineage and isinstance(stream, WeightStream):
                refuse_stranger(stream.vector, stream.probes)
            config.vector = stream.vector.provenance()
            config.base_model = asdict(stream.vector.config.base_model)
        for parameter in model.parameters():  # the few tensors that still pin the checkpoint's memory mapping
            if parameter.device.type == "cpu":
                parameter.data = parameter.data.clone()
        return model

    def is_serializable(self) -> bool:
        return True

    @property
    def is_trainable(self) -> bool:
        return False

    @property
    def is_compileable(self) -> bool:
        return True


class _PatchAndPack(ConversionOps):
    """The conversion transformers runs on each arriving tensor."""

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
        (value,) = input_dict.values()
        tensor = value[0] if isinstance(value, list) else value
        if missing_keys is not None:
            missing_keys.discard(full_layer_name)
        if self.quantizer.failure is not None:
            return {}
        try:
            return self.quantizer.convert(full_layer_name, tensor, model)
        except Exception as error:  # transformers would log it and go on; it is raised when the load ends
            self.quantizer.failure = error
            return {}


def _provenance(vector: Any) -> list[dict[str, Any]] | None:
    """JSON-able ``[{repo_id, revision, weight}]`` of whatever was given as `vector`."""
    if vector is None:
        return None
    items = list(vector) if isinstance(vector, (list, tuple)) else [vector]
    sources: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, dict):
            sources.append(dict(item))
        elif isinstance(item, QuantizationVector):
            sources.extend(item.provenance())
        else:
            sources.append(Source(str(item), None, 1.0 / len(items)).to_dict())
    return sources
