"""The images that a donor ships with its vector: one PNG contact sheet of equal tiles, for people and for receivers.

A loader shows them to a receiver, with proxy images, when the caller has no calibration images; see `proxies`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ..errors import ArtifactError, QVecError, first_line

__all__ = [
    "MAX_IMAGES_BYTES",
    "MAX_SHIPPED",
    "MAX_SIDE",
    "as_images",
    "interleaved",
    "read_images",
    "side_of",
    "write_images",
]

COLUMNS = 8
MAX_SHIPPED = 512
MAX_IMAGES_BYTES = 1 << 26
MAX_SIDE = 1024  # pixels of a tile
MAX_PIXELS = 89_478_485  # of a sheet; Pillow warns of larger ones


def side_of(image_size: object) -> int:
    """Height and width of the tiles for a model of this `image_size`: a number, or a pair of equal ones.

    Raises:
        QVecError: when the model's images are not square, or larger than `MAX_SIDE`.
    """
    pair = image_size if isinstance(image_size, (list, tuple)) else (image_size, image_size)
    side = pair[0] if len(pair) == 2 and pair[0] == pair[1] else None
    if type(side) is not int or not 1 <= side <= MAX_SIDE:
        raise QVecError(
            f"images: expected an architecture with square images of at most {MAX_SIDE} pixels a side, found "
            f"image_size {image_size!r}; such a vector travels without images"
        )
    return side


def as_images(images: object, size: int) -> Tensor:
    """Resize images of any size to uint8 ``(n, size, size, 3)``.

    Args:
        images: uint8 ``(n, height, width, 3)``, a tensor or an array.

    Raises:
        QVecError: when they are not that, more than `MAX_SHIPPED`, or too many pixels for a sheet.
    """
    try:
        array = images.numpy(force=True) if isinstance(images, Tensor) else np.asarray(images)
    except (ValueError, TypeError, RuntimeError) as error:  # images of several sizes, or no images
        array = np.asarray(first_line(error))
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] != 3 or not 1 <= len(array) <= MAX_SHIPPED:
        raise QVecError(
            f"images: expected 1 to {MAX_SHIPPED} images as uint8 (n, height, width, 3), found {array.dtype} "
            f"{array.shape}"
        )
    if len(array) > _most(size):
        raise QVecError(f"images: expected at most {_most(size)} images of {size} × {size}, found {len(array)}")
    if array.shape[1:3] != (size, size):
        resized = (Image.fromarray(each).resize((size, size), Image.Resampling.BICUBIC) for each in array)
        array = np.stack([np.asarray(image) for image in resized])
    return torch.tensor(array)


def interleaved(sets: Sequence[Tensor], most: int) -> Tensor | None:
    """At most `most` images of several donors, one of each in turn; None when there are none."""
    places = sorted((place, donor) for donor, images in enumerate(sets) for place in range(len(images)))
    if places:
        most = min(most, _most(sets[0].shape[1]))
    chosen = [sets[donor][place] for place, donor in places[:most]]
    return torch.stack(chosen) if chosen else None


def write_images(images: Tensor, path: Path) -> None:
    """Write uint8 ``(n, size, size, 3)`` as a contact sheet; the first images fill up an incomplete last row.

    Raises:
        QVecError: when the file gets larger than `MAX_IMAGES_BYTES`, so that nobody could fetch it.
    """
    size, rows = images.shape[1], -(-len(images) // COLUMNS)
    columns = min(COLUMNS, len(images))
    tiles = torch.cat([images, images[: rows * columns - len(images)]])
    sheet = tiles.reshape(rows, columns, size, size, 3).transpose(1, 2).reshape(rows * size, columns * size, 3)
    Image.fromarray(sheet.numpy()).save(path, format="PNG", optimize=True)
    if (written := path.stat().st_size) > MAX_IMAGES_BYTES:
        path.unlink()
        raise QVecError(
            f"images: expected a sheet of at most {MAX_IMAGES_BYTES:,} bytes, found {written:,} for {len(images)} "
            f"images of {size} × {size}; pass fewer"
        )


def read_images(path: Path, size: object, most: int = MAX_SHIPPED) -> Tensor | None:
    """Read the first `most` images of a contact sheet, uint8 ``(n, size, size, 3)``; None when there is no such file.

    Raises:
        ArtifactError: when the file is not a PNG of tiles of this size, or is larger than any sheet may be.
    """
    if not path.is_file():
        return None
    try:
        size = side_of(size)
    except QVecError as error:
        raise ArtifactError(f"{path}: {error}; remove the file") from error
    try:
        with Image.open(path, formats=["PNG"]) as sheet:
            width, height = sheet.size
            tiled = width % size == 0 and height % size == 0 and width // size <= COLUMNS
            if not tiled or width // size * (height // size) > MAX_SHIPPED:
                raise ArtifactError(
                    f"{path}: expected at most {MAX_SHIPPED} tiles of {size} × {size} pixels, {COLUMNS} a row, found "
                    f"{width} × {height} pixels; fetch or extract the vector again"
                )
            pixels = torch.tensor(np.asarray(sheet.convert("RGB")))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ArtifactError(f"{path}: not a readable PNG file ({first_line(error)}); fetch the vector again") from error
    tiles = pixels.reshape(height // size, size, width // size, size, 3).transpose(1, 2)
    return tiles.reshape(-1, size, size, 3)[:most]


def _most(size: int) -> int:
    """How many tiles of ``size × size`` pixels a sheet holds: only full rows count as large ones."""
    return min(MAX_SHIPPED, max(1, MAX_PIXELS // size**2 // COLUMNS * COLUMNS))
