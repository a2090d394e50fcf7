"""Check a caller's calibration images before anything is computed with them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import QVecError

__all__ = ["checked_images", "images_for"]

ALIGNMENT = 64  # bytes; where PyTorch puts tensors itself
_ADVICE = "pass the pixel_values that the receiver's image processor makes of some images"


def checked_images(images: Any) -> Tensor:
    """Check pixel values and return them as float32 ``(images, channels, height, width)``.

    The result is aligned in memory, so that sums over it always have the same bits.

    Raises:
        QVecError: when they are not finite floats of that shape.
    """
    if not isinstance(images, Tensor):
        kind = f"{type(images).__module__}.{type(images).__name__}".removeprefix("builtins.")
        raise _wrong(f"a tensor of pixel values (images, channels, height, width), found {kind}")
    shape = tuple(images.shape)
    if not images.is_floating_point():
        raise _wrong(f"normalized pixel values as floats, found {images.dtype} of shape {shape}")
    if len(shape) != 4 or not images.numel():
        hint = "; a single image needs a first dimension of 1: images[None]" if len(shape) == 3 else ""
        raise _wrong(f"pixel values (images, channels, height, width) of at least one image, found shape {shape}{hint}")
    if images.layout != torch.strided or images.device.type == "meta":
        raise _wrong(f"a dense tensor in memory, found {images.layout} on {images.device}")
    pixels = images.detach().float().contiguous()
    broken = int((~torch.isfinite(pixels)).flatten(1).any(dim=1).sum())
    if broken:
        raise _wrong(f"finite pixel values, found NaN or infinity in {broken} of {len(pixels)} images")
    return pixels if pixels.data_ptr() % ALIGNMENT == 0 else pixels.clone()


def images_for(model: nn.Module, images: Any) -> Tensor:
    """Check pixel values as `checked_images` does, and that they have the model's channels.

    Raises:
        QVecError: as `checked_images`, or when the number of channels differs.
    """
    pixels = checked_images(images)
    channels = getattr(getattr(model, "config", None), "num_channels", pixels.shape[1])
    if pixels.shape[1] != channels:
        raise QVecError(
            f"images: {type(model).__name__} refuses shape {tuple(pixels.shape)}: expected {channels} channels, found "
            f"{pixels.shape[1]}; {_ADVICE}"
        )
    return pixels


def _wrong(expected_and_found: str) -> QVecError:
    return QVecError(f"images: expected {expected_and_found}; {_ADVICE}")
