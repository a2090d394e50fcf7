"""Images as the model sees them: preprocessed once and kept in memory where that is cheap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset as ImageDataset
from torch import Tensor
from torch.utils.data import Dataset

from ..data import read_images
from ..errors import QVecError

__all__ = ["Pixels", "collate"]

MEMORY = 4 * 2**30  # bytes of pixel values to keep: 7,000 images of 224 x 224
CHUNK = 64  # images preprocessed at a time


class Pixels(Dataset):
    """Pixel values and labels of an image dataset; the same values whether kept or made on the fly.

    Args:
        images: columns ``image`` and ``label``, as `qvec_hub.data.load_images` gives them.
        processor: the base's image processor.
        name: what to call the dataset in messages.
        memory: bytes that may be spent on keeping all pixel values.

    Raises:
        DataError: an image that cannot be decoded.
        QVecError: an image that the processor refuses.
    """

    def __init__(self, images: ImageDataset, processor: Any, name: str, memory: int = MEMORY) -> None:
        self.images, self.processor, self.name = images, processor, name
        self.labels = [int(label) for label in images["label"]]
        self.kept: Tensor | None = None
        size = self._make([0]).nbytes * len(self.labels)
        if size <= memory:
            starts = range(0, len(self.labels), CHUNK)
            rows = [range(start, min(start + CHUNK, len(self.labels))) for start in starts]
            self.kept = torch.cat([self._make(part) for part in rows])  # (images, channels, height, width)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """A whole batch at once: what torch's DataLoader calls where it exists."""
        pixels = self._make(rows) if self.kept is None else self.kept[list(rows)]
        return [{"pixel_values": values, "labels": self.labels[row]} for values, row in zip(pixels, rows, strict=True)]

    def _make(self, rows: Sequence[int]) -> Tensor:
        images = read_images(self.images, rows, name=self.name)
        try:
            return self.processor(images, return_tensors="pt")["pixel_values"]  # (rows, channels, height, width)
        except (ValueError, TypeError) as error:
            raise QVecError(
                f"dataset {self.name}: the image processor {type(self.processor).__name__} refuses the images "
                f"{rows[0]} to {rows[-1]} ({error}); pass the processor that the base was trained with"
            ) from error


def collate(examples: list[dict[str, Any]]) -> dict[str, Tensor]:
    return {
        "pixel_values": torch.stack([example["pixel_values"] for example in examples]),  # (batch, channels, h, w)
        "labels": torch.tensor([example["labels"] for example in examples]),  # (batch,)
    }
