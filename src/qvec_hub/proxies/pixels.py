"""Proxy images as a given model's image processor would hand them over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import cached_file

from ..errors import QVecError
from .draw import proxy_images

__all__ = ["enough_images", "proxy_pixels"]

TOKENS = 56_000  # in all images together: where more of them no longer helped on the zoo
LEAST, MOST = 128, 1536  # images


class Normalization(NamedTuple):
    """``(pixel * factor - mean) / std`` of pixels 0 … 255, channel by channel."""

    factor: float = 1 / 255
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)


def proxy_pixels(
    model: PreTrainedModel, count: int | None = None, seed: int = 0, shipped: Tensor | None = None
) -> Tensor:
    """Proxy images in the size, channels and normalization that a classifier expects.

    The normalization is that of the checkpoint's ``preprocessor_config.json``; where there is none to be had, the one
    that transformers' ViTs have by default (mean and deviation 0.5).

    Args:
        count: images; by default `enough_images`.
        shipped: pictures of other tasks, uint8 ``(n, height, width, 3)``, that come first; those of the package make
            up the number.

    Returns:
        float32 ``(count, channels, height, width)``.

    Raises:
        QVecError: when the model's config does not say how large its images are.
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
    pixels = images.permute(0, 3, 1, 2).float()
    channels = int(getattr(model.config, "num_channels", 3))
    if channels != pixels.shape[1]:
        pixels = pixels.mean(dim=1, keepdim=True).expand(-1, channels, -1, -1)
    factor, mean, std = (torch.tensor(value).view(-1, 1, 1) for value in _normalization(model.config))
    return ((pixels * factor - mean) / std).contiguous()


def enough_images(model: PreTrainedModel) -> int:
    """How many images to watch a model on: fewer of those that it cuts into more tokens."""
    size, patch = (getattr(model.config, key, None) for key in ("image_size", "patch_size"))
    if not isinstance(size, int) or not isinstance(patch, int):
        return LEAST
    return min(MOST, max(LEAST, TOKENS // ((size // patch) ** 2 + 1)))


def _normalization(config: Any) -> Normalization:
    values = _processor_config(config)
    if not values.get("do_normalize", True) or not values.get("do_rescale", True):
        return Normalization()
    found = [values.get(key) for key in ("image_mean", "image_std")]
    factor = values.get("rescale_factor", 1 / 255)
    numbers = [value for value in found if isinstance(value, list) and value and all(map(_is_number, value))]
    if len(numbers) < 2 or not _is_number(factor) or not all(numbers[1]):
        return Normalization()
    return Normalization(float(factor), *(tuple(map(float, value)) for value in numbers))


def _processor_config(config: Any) -> dict[str, Any]:
    """``preprocessor_config.json`` of the checkpoint that a config came from; empty where there is none."""
    name, revision = getattr(config, "_name_or_path", ""), getattr(config, "_commit_hash", None)
    if not name:
        return {}
    try:
        path = cached_file(
            name, "preprocessor_config.json", revision=revision, _raise_exceptions_for_missing_entries=False
        )
        values = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):  # not there, not reachable or no JSON: the default will do
        return {}
    return values if isinstance(values, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e6
