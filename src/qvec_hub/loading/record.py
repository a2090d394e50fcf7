"""The record of a quantized model in its ``config.json``, and the methods that it has of its own."""

from __future__ import annotations

from functools import partial

from transformers import PreTrainedModel

from ..artifact.model_record import quantization_record
from ..backbone.provenance import keep_folder_, known_origin, provenance_of
from ..grid.grid import Grid
from ..hub.publish.push import push_model
from .dequantize import dequantize_
from .saving import save_with_processor_

__all__ = ["own_methods_", "remember_"]


def remember_(model: PreTrainedModel, grid: Grid, rounding: str = "nearest", watched: str | None = None) -> None:
    """Record in the model's config how it was quantized and which vector `patch_` added before."""
    patch = provenance_of(model).patch or {"vector": None, "scale": 1.0}
    receiver = known_origin(model).to_dict()
    keep_folder_(model)
    model.config.quantization_config = quantization_record(
        grid, **patch, receiver=receiver, rounding=rounding, watched=watched
    )
    own_methods_(model)


def own_methods_(model: PreTrainedModel) -> None:
    """Give a quantized model its own ``push_to_hub`` (with a card), ``save_pretrained`` (with the image processor) and
    ``dequantize``.

    Only this object is changed: transformers' own method would overwrite any card with a generic one. The image
    processor is pushed too, see `save_with_processor_`.
    """
    model.push_to_hub = partial(push_model, model)  # type: ignore[assignment]
    model.dequantize = partial(dequantize_, model)  # type: ignore[method-assign]
    save_with_processor_(model)
