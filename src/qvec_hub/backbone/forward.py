"""Forward passes of a model in evaluation mode, with errors that name what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import QVecError, first_line

__all__ = ["evaluating", "show"]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; every module has its own mode again at the end."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def show(model: PreTrainedModel, pixels: Tensor) -> Any:
    """Run a model on images and return its output.

    Raises:
        QVecError: when the model refuses them.
    """
    try:
        return model(pixel_values=pixels.to(device=model.device, dtype=model.dtype))
    except (ValueError, TypeError, RuntimeError) as error:
        raise QVecError(
            f"{type(model).__name__} refuses pixel_values of shape {tuple(pixels.shape)} "
            f"({first_line(error)}); pass what the model's image processor makes of some images"
        ) from error
