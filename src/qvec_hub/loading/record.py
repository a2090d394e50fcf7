"""What a quantized model knows of itself: its entry in ``config.json``, and the way to publish it with a card."""

from __future__ import annotations

from functools import partial

from transformers import PreTrainedModel

from ..artifact.model_record import quantization_record
from ..backbone.checkpoint import keep_folder_, known_origin
from ..backbone.names import PATCH_RECORD
from ..grid.grid import Grid
from ..hub.publish.push import push_model
from .saving import save_with_processor_

__all__ = ["push_with_card_", "remember_"]


def remember_(model: PreTrainedModel, grid: Grid, rounding: str = "nearest", watched: str | None = None) -> None:
    """Write into the model's config how it was quantized, and what `patch_` added to it before."""
    patch = getattr(model, PATCH_RECORD, {"vector": None, "scale": 1.0})
    receiver = known_origin(model).to_dict()
    keep_folder_(model)
    model.config.quantization_config = quantization_record(
        grid, **patch, receiver=receiver, rounding=rounding, watched=watched
    )
    push_with_card_(model)


def push_with_card_(model: PreTrainedModel) -> None:
    """Let the model's ``push_to_hub`` write a card that says how it was made and how to load it.

    On this one object, for transformers' own method would overwrite any card with a generic one. The image processor
    goes along, see `save_with_processor_`.
    """
    model.push_to_hub = partial(push_model, model)  # type: ignore[assignment]
    save_with_processor_(model)
