"""Training images as pixel values, preprocessed once and kept in memory if they fit."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset as ImageDataset
from datasets import Image as ImageFeature
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ..data.images import read_images
from ..errors import QVecError, first_line

__all__ = ["Pixels", "Unlabeled", "collate"]

MEMORY = 4 * 2**30  # bytes of pixel values to keep: 7,000 images of 224 x 224
CHUNK = 64  # images preprocessed at a time
ORIENTATION, TURNED = 0x0112, 5  # an EXIF tag, and its first value under which width and height change places


class Pixels(Dataset):
    """Pixel values and labels of an image dataset; the values are the same whether cached or computed again.

    Args:
        images: columns ``image`` and ``label``, as `qvec_hub.data.images.load_images` gives them.
        processor: the base's image processor.
        name: what to call the dataset in messages.
        memory: bytes that may be spent on keeping all pixel values.
        mode: what the processor is given: ``"RGB"``, or ``"L"`` for models of one channel.

    Raises:
        DataError: when an image cannot be decoded.
        QVecError: when the processor refuses an image, or makes images of different sizes.
    """

    def __init__(
        self, images: ImageDataset, processor: Any, name: str, memory: int = MEMORY, mode: str = "RGB"
    ) -> None:
        self.images, self.processor, self.name, self.mode = images, processor, name, mode
        self.labels = [int(label) for label in images["label"]]
        self.kept: Tensor | None = None
        first = self._make([0])
        self.shape = tuple(first.shape[1:])  # (channels, height, width)
        if first.nbytes * len(self.labels) <= memory:
            starts = range(0, len(self.labels), CHUNK)
            rows = [range(start, min(start + CHUNK, len(self.labels))) for start in starts]
            self.kept = torch.cat([self._make(part) for part in rows])  # (images, channels, height, width)
        else:
            self._refuse_uneven()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """A whole batch at once: what torch's DataLoader calls where it exists."""
        pixels = self._make(rows) if self.kept is None else self.kept[list(rows)]
        return [{"pixel_values": values, "labels": self.labels[row]} for values, row in zip(pixels, rows, strict=True)]

    def _make(self, rows: Sequence[int]) -> Tensor:
        """Pixel values ``(rows, channels, height, width)``, of the same size for all rows."""
        images = read_images(self.images, rows, mode=self.mode, name=self.name)
        try:
            pixels = self._process(images)
        except Exception as error:  # of a processor that may be anybody's, on images that may be anything
            self._refuse_one_of(images, rows)
            raise self._refusal(rows, error) from error
        shape = getattr(self, "shape", tuple(pixels.shape[1:]))
        if tuple(pixels.shape[1:]) != shape:
            raise self._uneven(shape, tuple(pixels.shape[1:]), rows[0])
        return pixels

    def _process(self, images: list[Image.Image]) -> Tensor:
        pixels = torch.as_tensor(self.processor(images, return_tensors="pt")["pixel_values"])
        if pixels.ndim != 4 or len(pixels) != len(images) or not pixels.is_floating_point():
            raise ValueError(
                f"expected floating pixel_values ({len(images)}, channels, height, width), found {pixels.dtype} "
                f"{tuple(pixels.shape)}"
            )
        return pixels

    def _refuse_one_of(self, images: list[Image.Image], rows: Sequence[int]) -> None:
        """Name the image that a processor refuses, or the two that it leaves at different sizes."""
        first: tuple[int, ...] | None = getattr(self, "shape", None)
        for image, row in zip(images, rows, strict=True):
            try:
                shape = tuple(self._process([image]).shape[1:])
            except Exception as error:
                raise self._refusal([row], error) from error
            if first is not None and shape != first:
                raise self._uneven(first, shape, row)
            first = shape

    def _refuse_uneven(self) -> None:
        """Look at the sizes of all images, without decoding them, where the processor's output depends on them."""
        _, height, width = self.shape
        try:
            probes = [Image.new(self.mode, size) for size in ((3 * width, height), (width, 3 * height))]
            if all(tuple(self._process([probe]).shape[1:]) == self.shape for probe in probes):
                return
        except Exception:  # then it is worth a look
            pass
        first = None
        for row, entry in enumerate(self.images.with_format(None).cast_column("image", ImageFeature(decode=False))):
            size = _size(entry["image"])
            first = first or size
            if size not in (None, first):
                self._make([row])  # raises, unless the processor brings this one to the same size after all

    def _refusal(self, rows: Sequence[int], error: Exception) -> QVecError:
        which = f"image {rows[0]}" if len(rows) == 1 else f"the images {rows[0]} to {rows[-1]}"
        return QVecError(
            f"dataset {self.name}: the image processor {type(self.processor).__name__} refuses {which} as {self.mode} "
            f"({first_line(error)}); pass the processor that the base was trained with"
        )

    def _uneven(self, first: tuple[int, ...], other: tuple[int, ...], row: int) -> QVecError:
        return QVecError(
            f"dataset {self.name}: expected pixel values of one size, found {first} and, of image {row}, {other}; set "
            "a fixed size (height and width) or a centre crop in the processor (preprocessor_config.json), or pass "
            "another as processor="
        )


class Unlabeled(Dataset):
    """Pixel values without labels; every label is 0, for recipes that do not look at it.

    Args:
        pixels: float32 ``(images, channels, height, width)``.
        name: what to call the images in messages.
    """

    def __init__(self, pixels: Tensor, name: str) -> None:
        self.kept, self.name, self.labels = pixels, name, [0] * len(pixels)

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"pixel_values": self.kept[row], "labels": 0}


def collate(examples: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Stack examples of `Pixels` or `Unlabeled` to a batch."""
    return {
        "pixel_values": torch.stack([example["pixel_values"] for example in examples]),  # (batch, channels, h, w)
        "labels": torch.tensor([example["labels"] for example in examples]),  # (batch,)
    }


def _size(entry: dict[str, Any] | None) -> tuple[int, int] | None:
    """Width and height by the header of an image file; None where it cannot be read."""
    try:
        content: Any = entry or {}
        with Image.open(io.BytesIO(content["bytes"]) if content.get("bytes") else content["path"]) as image:
            turned = image.getexif().get(ORIENTATION, 1) >= TURNED
            return image.size[::-1] if turned else image.size
    except Exception:  # named when the image is decoded
        return None
