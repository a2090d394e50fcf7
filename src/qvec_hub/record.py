"""What a quantized model knows of itself: its entry in ``config.json``, and the way to publish it with a card."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from transformers import PreTrainedModel

from .checkpoint import known_origin
from .grids import Grid
from .naming import PATCH_RECORD
from .publishing import push_model
from .version import __version__

__all__ = ["METHOD", "push_with_card_", "quantization_record", "remember_"]

METHOD = "qvec"  # the name transformers knows this quantization by


def quantization_record(
    grid: Grid,
    vector: list[dict[str, Any]] | None,
    scale: float | str,
    base_model: dict[str, Any] | None = None,
    receiver: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What ``config.json`` says of a quantized model: enough to load it and to know how it was made."""
    return {
        "quant_method": METHOD,
        "qvec_hub_version": __version__,
        "grid": grid.to_dict(),
        "vector": vector,
        "scale": scale,
        "base_model": base_model,
        "receiver": receiver,
    }


def remember_(model: PreTrainedModel, grid: Grid) -> None:
    """Write into the model's config that it was quantized, and what `patch_` added to it before."""
    patch = getattr(model, PATCH_RECORD, {"vector": None, "scale": 1.0})
    receiver = asdict(known_origin(model))
    model.config.quantization_config = quantization_record(grid, **patch, receiver=receiver)
    push_with_card_(model)


def push_with_card_(model: PreTrainedModel) -> None:
    """Let the model's ``push_to_hub`` write a card that says how it was made and how to load it.

    On this one object, for transformers' own method would overwrite any card with a generic one.
    """
    model.push_to_hub = partial(push_model, model)  # type: ignore[assignment]
