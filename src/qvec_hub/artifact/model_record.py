"""The record in a quantized model's ``config.json`` of how it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..version import __version__

if TYPE_CHECKING:  # `import qvec_hub` imports this module, and must not import torch
    from ..grid.grid import Grid

__all__ = ["METHOD", "PROXIES", "ROUNDED", "quantization_record"]


# Name of a rounding -> how a card says it, after "rounded". Each rounding enters its own when it is registered: cards
# stand below the roundings, and must not import them.
ROUNDED: dict[str, str] = {}

METHOD = "qvec"  # the name of this quantization method in transformers


# Images that codes and scale were found with; with own images the model is not zero-shot.
PROXIES, OWN_IMAGES = "proxies", "own_images"


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
    """Build the record of a quantized model in ``config.json``: enough to load it and to know how it was made.

    Args:
        watched: which images codes and scale were found with: `PROXIES`, `OWN_IMAGES`, or None for no images.
        scale_curve: (scale, divergence) pairs that the scale was chosen by, see `ScaleChoice`; None if it was given.
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
