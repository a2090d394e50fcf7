"""A model to be counted: opened, put on its device, and run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import QVecError
from ..loading.from_pretrained import from_pretrained

__all__ = ["device_called", "device_name", "forward", "ready", "resolve_model"]


def resolve_model(model: Any, **how: Any) -> nn.Module:
    """The model itself, or the one at a folder or Hub id, loaded by `qvec_hub.from_pretrained` with `how`.

    Raises:
        QVecError: when it is neither, or cannot be loaded.
    """
    if isinstance(model, nn.Module):
        return model
    if isinstance(model, (str, Path)):
        return from_pretrained(model, **how)
    raise QVecError(f"model: expected a model, or a folder or Hub id of one, found {type(model).__name__}")


@contextmanager
def ready(models: Sequence[nn.Module], device: torch.device) -> Iterator[None]:
    """Put models into evaluation mode on a device; restore each one's mode and device afterwards."""
    modes = [(module, module.training) for model in models for module in model.modules()]
    homes = [_home(model) for model in models]
    try:
        for model, home in zip(models, homes, strict=True):
            model.eval()
            if home is not None and home != device:
                model.to(device)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for model, home in zip(models, homes, strict=True):
            if home is not None and home != device:
                model.to(home)


def _home(model: nn.Module) -> torch.device | None:
    """The model's device; None if it is spread over several and must not be moved."""
    places = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    return next(iter(places)) if len(places) == 1 else None


def forward(model: nn.Module, pixels: Tensor) -> Tensor:
    """Compute logits ``(n, classes)``, on the model's device and in its dtype.

    Args:
        pixels: ``(n, channels, height, width)``, on any device and in any dtype.

    Raises:
        QVecError: when the model refuses the pixels, or gives no logits of this shape.
    """
    first = next((tensor for tensor in model.parameters() if tensor.is_floating_point()), pixels)
    pixels = pixels.to(device=first.device, dtype=first.dtype)
    try:
        logits = getattr(model(pixel_values=pixels), "logits", None)
    except (ValueError, TypeError) as error:
        raise QVecError(
            f"model {type(model).__name__}: expected to take pixel_values of shape {tuple(pixels.shape)}, found "
            f"{type(error).__name__}: {error}; pass the image processor the model was trained with"
        ) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise QVecError(
            f"model {type(model).__name__}: expected logits (n, classes), found none; "
            "pass an image classification model, such as ViTForImageClassification"
        )
    return logits


def device_called(name: str | torch.device) -> torch.device:
    """The device of a name, such as ``"cuda:0"``.

    Raises:
        QVecError: when this machine has none.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without that kind
        raise QVecError(f"device: expected one of this machine, found {str(name)!r}: {error}") from error


def device_name(device: torch.device) -> str:
    """Name of a device in rows and results; for a GPU its model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
