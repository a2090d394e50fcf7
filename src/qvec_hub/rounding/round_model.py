"""`round_linears_`: any registered rounding on a whole model."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from transformers import PreTrainedModel

from ..backbone.conditions import usual_settings
from ..backbone.names import backbone_linears
from ..grid.grid import Grid
from ..grid.quantize import Quantized
from .registry import ROUNDINGS

__all__ = ["amount_of_work", "round_linears_"]


@usual_settings()
def round_linears_(
    model: PreTrainedModel,
    grid: Grid,
    rounding: str,
    pixel_values: Tensor,
    *,
    batch_size: int = 32,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Quantized]:
    """Round the backbone's linear weights; the model then computes with them. The same images give the same codes.

    Args:
        model: a float transformers image classifier, patched already where a vector is wanted.
        rounding: the name of a registered rounding, see `registry.ROUNDINGS`.
        pixel_values: ``(images, channels, height, width)``, as its image processor makes them.
        batch_size: images that one encoder layer takes at a time.
        progress: called with 1 for every part of the `amount_of_work` that is done.

    Returns:
        Codes and scales by the layers' names.

    Raises:
        GridError: when a weight holds NaN or infinity.
        QVecError: when the rounding does not exist, the model is not plain, refuses the images, does not use one of
            its linear layers or computes NaN.
    """
    find = ROUNDINGS.get(rounding).find
    return find(model, grid, pixel_values, batch_size=batch_size, progress=progress or (lambda done: None))


def amount_of_work(model: PreTrainedModel, rounding: str) -> int:
    """How many parts `round_linears_` reports as done: linear layers, and steps of tuning."""
    return len(dict(backbone_linears(model))) + ROUNDINGS.get(rounding).extra_parts()
