"""NODOC"""

from __future__ import annotations

from typing import Any

from ..grid.grid import Grid
from ..version import __version__

__all__ = ["METHOD", "PROXIES", "quantization_record"]


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
