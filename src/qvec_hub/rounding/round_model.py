"""`round_linears_`: any registered rounding on a whole model."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from transformers import PreTrainedModel

from ..backbone.conditions import usual_settings
from ..backbone.names import backbone_linears
from ..backbone.tokens import tokens_per_image
from ..grid.grid import Grid
from ..grid.quantize import Quantized
from .registry import ROUNDINGS

__all__ = ["amount_of_work", "round_linears_"]

TOKENS = 4096  # what takes a processor the longest at a time, and little memory
FEW_IMAGES = 32  # where their tokens cannot be told


@usual_settings()
def round_linears_(
    model: PreTrainedModel,
    grid: Grid,
    rounding: str,
    pixel_values: Tensor,
    *,
    batch_size: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Quantized]:
    """Round the backbone's linear weights; the model then computes with them. The same images give the same codes.

    Args:
        model: a float transformers image classifier, patched already where a vector is wanted.
        rounding: the name of a registered rounding, see `registry.ROUNDINGS`.
        pixel_values: ``(images, channels, height, width)``, as its image processor makes them.
        batch_size: images that one encoder layer takes at a time, by default as many as have about `TOKENS` tokens.
        progress: called with 1 for every part of the `amount_of_work` that is done.

    Returns:
        Codes and scales by the layers' names.

    Raises:
        GridError: when a weight holds NaN or infinity.
        QVecError: when the rounding does not exist, the model is not plain, refuses the images, does not use one of
            its linear layers or computes NaN.
    """
    find = ROUNDINGS.get(rounding).find
    size = _images_of_a_part(model, pixel_values) if batch_size is None else batch_size
    return find(model, grid, pixel_values, batch_size=size, progress=progress or (lambda done: None))


def amount_of_work(model: PreTrainedModel, rounding: str) -> int:
    """How many parts `round_linears_` reports as done: linear layers, and steps of tuning."""
    return len(dict(backbone_linears(model))) + ROUNDINGS.get(rounding).extra_parts()


def _images_of_a_part(model: PreTrainedModel, pixel_values: Tensor) -> int:
    tokens = tokens_per_image(model.config, *pixel_values.shape[-2:])
    return FEW_IMAGES if tokens is None else max(1, TOKENS // tokens)
