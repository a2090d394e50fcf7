"""What a quantized model knows of itself: its entry in ``config.json``, and the way to publish it with a card."""

from __future__ import annotations

from functools import partial
from typing import Any

from transformers import PreTrainedModel

from .checkpoint import keep_folder_, known_origin
from .grids import Grid
from .naming import PATCH_RECORD
from .publishing import push_model
from .saving import save_with_processor_
from .version import __version__

__all__ = ["METHOD", "OWN_IMAGES", "PROXIES", "push_with_card_", "quantization_record", "remember_"]

METHOD = "qvec"  # the name transformers knows this quantization by
PROXIES, OWN_IMAGES = "proxies", "own_images"  # what codes and scale were found with; the latter is not zero-shot


def quantization_record(
    grid: Grid,
    vector: list[dict[str, Any]] | None,
    scale: float | str | None,
    base_model: dict[str, Any] | None = None,
    receiver: dict[str, Any] | None = None,
    rounding: str | None = "nearest",
    watched: str | None = None,
    scale_curve: list[list[float]] | None = None,
) -> dict[str, Any]:
    """What ``config.json`` says of a quantized model: enough to load it and to know how it was made.

    Args:
        watched: `PROXIES`, `OWN_IMAGES`, or None where no image was shown to the model.
        scale_curve: what a scale was chosen by, see `scale.ScaleChoice`.
    """
    return {
        "quant_method": METHOD,
        "qvec_hub_version": __version__,
        "grid": grid.to_dict(),
        "vector": vector,
        "scale": scale,
        "base_model": base_model,
        "receiver": receiver,
        "rounding": rounding,
        "watched": watched,
        "scale_curve": scale_curve,
    }


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
