"""Turn images into pixel values with the checkpoint's own processor, in batches or once for many models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info
from transformers import BaseImageProcessor

from ..data.classes import class_names
from ..data.images import check_images, read_images
from ..errors import DataError, QVecError

__all__ = ["ImageBatches", "PreprocessedImages", "image_backend", "preprocess", "rows_to_take"]

CHUNK = 8  # images a processor call: larger ones are slower, their intermediate arrays leave the caches


@dataclass(frozen=True)
class PreprocessedImages:
    """Images decoded and preprocessed once, for many models.

    Attributes:
        pixel_values: float32 ``(n, channels, height, width)``.
        labels: int64 ``(n,)``, the dataset's ids.
        names: class names by id, or None.
        image_backend: what resized the images, see `image_backend`.
        split: the split they were taken from, None if unknown.
    """

    pixel_values: Tensor
    labels: Tensor
    names: list[str] | None
    image_backend: str
    split: str | None = None

    def __len__(self) -> int:
        return len(self.labels)


class ImageBatches(torch.utils.data.Dataset):
    """Whole batches of the chosen rows for a DataLoader, as ``{"pixel_values", "position"}``."""

    def __init__(self, images: Dataset | PreprocessedImages, rows: Sequence[int], processor: Any, mode: str) -> None:
        self.images, self.rows, self.processor, self.mode = images, rows, processor, mode

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, positions: list[int]) -> dict[str, Any]:
        rows = [self.rows[position] for position in positions]
        if isinstance(self.images, PreprocessedImages):
            pixels = self.images.pixel_values[rows]
        else:
            try:
                pixels = pixel_values(self.images, rows, self.processor, self.mode)
            except QVecError as error:
                if get_worker_info() is None:
                    raise
                return {"error": error}  # raised in a worker, it would arrive with a traceback for a message
        return {"pixel_values": pixels, "position": torch.as_tensor(positions)}

    def loader(self, batch_size: int, num_workers: int) -> DataLoader:
        """Batches in order; they are final when they leave `__getitems__`."""
        # A generator of its own: without one, each pass would draw a number from the caller's random state.
        own = {"collate_fn": _as_it_is, "generator": torch.Generator()}
        return DataLoader(self, batch_size=batch_size, num_workers=num_workers, **own)  # type: ignore[arg-type]


def preprocess(
    dataset: Dataset,
    processor: Any,
    *,
    mode: str = "RGB",
    limit: int | None = None,
    num_workers: int = 0,
) -> PreprocessedImages:
    """Decode and preprocess a dataset from `qvec_hub.data.images.load_images` into one tensor in memory.

    A 224 × 224 colour image takes 0.6 MB.

    Args:
        processor: as for `evaluate`.
        mode: ``"RGB"``, or ``"L"`` for models of one channel.
        limit: take at most this many images, evenly spread over the dataset.
        num_workers: processes that decode; 0 decodes in this one.

    Raises:
        DataError: an image cannot be decoded.
        QVecError: the processor does not yield images of one size.
    """
    check_images(dataset)
    rows = rows_to_take(len(dataset), limit)
    if not rows:
        raise DataError("dataset: expected images, found no rows")
    pixels: Tensor | None = None
    for batch in ImageBatches(dataset, rows, processor, mode).loader(4 * CHUNK, num_workers):
        if "error" in batch:
            raise batch["error"]
        part = batch["pixel_values"]
        if pixels is None:
            pixels = part.new_empty(len(rows), *part.shape[1:])
        if part.shape[1:] != pixels.shape[1:]:
            raise _uneven(pixels, part)
        pixels[batch["position"]] = part
    assert pixels is not None
    labels = torch.as_tensor(np.asarray(dataset.with_format("numpy")["label"][:]))[rows]
    split = str(dataset.split) if dataset.split else None
    return PreprocessedImages(pixels, labels, class_names(dataset), image_backend(processor), split)


def pixel_values(dataset: Dataset, rows: Sequence[int], processor: Any, mode: str) -> Tensor:
    """Rows of a dataset as the processor makes them: float ``(len(rows), channels, height, width)``."""
    parts: list[Tensor] = []
    for start in range(0, len(rows), CHUNK):
        images = read_images(dataset, rows[start : start + CHUNK], mode=mode)
        try:
            parts.append(torch.as_tensor(processor(images=images, return_tensors="pt")["pixel_values"]))
        except (ValueError, RuntimeError, TypeError, KeyError) as error:
            raise QVecError(
                f"image processor {type(processor).__name__}: expected pixel_values of one size for images of mode "
                f"{mode}, found {type(error).__name__}: {error}; pass a fitting one as processor="
            ) from error
        if parts[-1].shape[1:] != parts[0].shape[1:]:
            raise _uneven(parts[0], parts[-1])
    return torch.cat(parts)


def image_backend(processor: Any) -> str:
    """What a processor computes with: ``"pil"``, ``"torchvision"``, or ``"custom"`` for a callable of one's own."""
    backend = getattr(processor, "backend", None)
    if isinstance(backend, str):
        return backend
    if not isinstance(processor, BaseImageProcessor):
        return "custom"
    return "torchvision" if type(processor).__name__.endswith("Fast") else "pil"


def rows_to_take(n: int, limit: int | None) -> list[int]:
    """At most `limit` of `n` rows, evenly spread: the first ones are often all of one class.

    Raises:
        QVecError: a limit below 1.
    """
    if limit is not None and limit < 1:
        raise QVecError(f"limit: expected a number of images of at least 1, found {limit}")
    if limit is None or limit >= n:
        return list(range(n))
    return [i * n // limit for i in range(limit)]


def _as_it_is(batch: Any) -> Any:
    return batch


def _uneven(one: Tensor, other: Tensor) -> QVecError:
    return QVecError(
        f"image processor: expected pixel_values of one size, found {tuple(one.shape[1:])} and "
        f"{tuple(other.shape[1:])}; set a fixed size (height and width) or a centre crop in the processor"
    )
