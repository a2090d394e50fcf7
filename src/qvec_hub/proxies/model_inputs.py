"""Turn proxy images into the inputs of a given model, with its own image processor."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from ..backbone.names import backbone_linears
from ..backbone.processor import ADVICE, require_processor
from ..backbone.tokens import tokens_per_image
from ..errors import QVecError
from ..util.foreign import foreign_errors
from .draw import proxy_images

__all__ = ["enough_images", "proxy_pixels"]

# Rounding is found for the images it sees, so the more of them the better: on DINOv2-small the features' error on other
# images falls from 0.34 of their variance with 192 images to 0.24 with 768, 0.22 with 1,536 and 0.20 with 6,144.
IMAGES_A_FEATURE = 4  # of the layer with the most input features, whose second moments need them most
PARAMETER_TOKENS = 4.8e12  # at most, parameters times tokens of all images: what a ViT-B takes minutes for
LEAST = 128  # images
CHUNK = 64  # images in one call of the processor
# Proxy images already have the model's size; only the processor's changes to pixel values matter.
GEOMETRY = ("do_resize", "do_center_crop", "do_pad")


def proxy_pixels(
    model: PreTrainedModel, count: int | None = None, seed: int = 0, shipped: Tensor | None = None
) -> Tensor:
    """Make proxy images in the size, channels and normalization that a classifier expects.

    Uses the checkpoint's own image processor (see `qvec_hub.backbone.processor`) without resizing and cropping. If
    there is none, or it refuses the images, warns and scales pixels to values from -1 to 1, as transformers' ViTs do
    by default.

    Args:
        count: number of images; by default `enough_images`.
        seed: seed of the drawn images.
        shipped: images of other tasks, uint8 ``(n, height, width, 3)``, to use first; drawn images make up the number.

    Returns:
        float32 ``(count, channels, height, width)``.

    Raises:
        QVecError: when the model's config has no image size, or the shipped images have another size.
    """
    size = getattr(model.config, "image_size", None)
    height, width = (size, size) if isinstance(size, int) else tuple(size or (0, 0))
    if not height or not width:
        raise QVecError(f"{type(model).__name__}: expected an image_size in its config, found none; pass images=")
    count = enough_images(model) if count is None else count
    images = torch.empty(0, height, width, 3, dtype=torch.uint8) if shipped is None else shipped[:count]
    if images.shape[1:3] != (height, width):
        raise QVecError(f"images: expected {height} × {width} pixels, found {tuple(images.shape)}")
    if len(images) < count:
        images = torch.cat([images, torch.tensor(proxy_images(count - len(images), (height, width), seed))])
    channels = int(getattr(model.config, "num_channels", 3))
    try:
        return _processed(images.numpy(), require_processor(model), channels)
    except QVecError as error:
        warnings.warn(
            "proxy images: normalized to values from -1 to 1, the default of transformers' ViTs, and codes and scales "
            f"are found with these ({str(error).removesuffix(ADVICE)}); save the model's image processor with it, or "
            "pass images=",
            stacklevel=2,
        )
    return torch.stack([torch.tensor(_in_channels(image, channels)) for image in images.numpy()]).div(127.5).sub(1)


def enough_images(model: PreTrainedModel) -> int:
    """How many images to show a model: four for each feature of its widest layer, if that does not take too long."""
    size = getattr(model.config, "image_size", None)
    tokens = tokens_per_image(model.config, size, size) if isinstance(size, int) else None
    if tokens is None:
        return LEAST
    parameters = sum(parameter.numel() for parameter in model.base_model.parameters())
    widest = max((layer.weight.shape[-1] for _, layer in backbone_linears(model)), default=0)
    return max(LEAST, min(IMAGES_A_FEATURE * widest, int(PARAMETER_TOKENS / (parameters * tokens))))


def _processed(images: NDArray[np.uint8], processor: Any, channels: int) -> Tensor:
    """Run a processor on uint8 images ``(n, height, width, 3)``: float32 ``(n, channels, height, width)``.

    Raises:
        QVecError: when it refuses them, or returns values of another shape or not finite.
    """
    changes: dict[str, Any] = {name: False for name in GEOMETRY if hasattr(processor, name)}
    for name in ("image_mean", "image_std"):
        value = getattr(processor, name, None)
        if isinstance(value, (list, tuple)) and len(value) == 1:  # of a processor for grey images: each channel's
            changes[name] = list(value) * channels
    parts = []
    name = type(processor).__name__
    for start in range(0, len(images), CHUNK):
        shown = [_as_pillow(image, channels) for image in images[start : start + CHUNK]]
        what = f"image processor {name}: expected to take images of {channels} channels"
        with foreign_errors(QVecError, what), np.errstate(all="ignore"):
            made = processor(images=shown, return_tensors="pt", **changes)["pixel_values"]
            parts.append(torch.as_tensor(made).float())
    pixels = torch.cat(parts) if parts else torch.empty(0, channels, *images.shape[1:3])
    expected = (len(images), channels, *images.shape[1:3])
    if tuple(pixels.shape) != expected or not bool(pixels.isfinite().all()):
        raise QVecError(
            f"image processor {name}: expected finite pixel values of shape {expected}, found {tuple(pixels.shape)}"
            f"{', not finite' if tuple(pixels.shape) == expected else ''}"
        )
    return pixels.contiguous()


def _as_pillow(image: NDArray[np.uint8], channels: int) -> Any:
    if channels in (1, 3):
        return Image.fromarray(image).convert("L" if channels == 1 else "RGB")
    return _in_channels(image, channels)


def _in_channels(image: NDArray[np.uint8], channels: int) -> NDArray[np.float32] | NDArray[np.uint8]:
    """Turn an image ``(height, width, 3)`` into ``(channels, height, width)``, in grey unless it has three channels."""
    if channels == 3:
        return image.transpose(2, 0, 1).astype(np.float32)
    grey = np.asarray(Image.fromarray(image).convert("L"))
    return np.broadcast_to(grey, (channels, *grey.shape)).copy()
