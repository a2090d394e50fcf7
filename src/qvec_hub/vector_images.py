"""The pictures that a donor ships with its vector: one PNG sheet of equal tiles, for people and for receivers.

They show a receiver's layers what kinds of images there are, where nobody has its own; see `proxies`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from .errors import ArtifactError, QVecError, first_line

__all__ = ["MAX_IMAGES_BYTES", "MAX_SHIPPED", "as_images", "interleaved", "read_images", "write_images"]

COLUMNS = 8
MAX_SHIPPED = 512
MAX_IMAGES_BYTES = 1 << 26
MAX_SIDE = 1024  # pixels of a tile


def as_images(images: object, size: int) -> Tensor:
    """Pictures of any size as uint8 ``(n, size, size, 3)``.

    Args:
        images: uint8 ``(n, height, width, 3)``, a tensor or an array.

    Raises:
        QVecError: when they are not that, or more than `MAX_SHIPPED`.
    """
    array = images.numpy() if isinstance(images, Tensor) else np.asarray(images)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] != 3 or not 1 <= len(array) <= MAX_SHIPPED:
        raise QVecError(
            f"images: expected 1 to {MAX_SHIPPED} pictures as uint8 (n, height, width, 3), found {array.dtype} "
            f"{array.shape}"
        )
    if array.shape[1:3] != (size, size):
        pictures = (Image.fromarray(each).resize((size, size), Image.Resampling.BICUBIC) for each in array)
        array = np.stack([np.asarray(picture) for picture in pictures])
    return torch.tensor(array)


def interleaved(sets: Sequence[Tensor], most: int) -> Tensor | None:
    """Pictures of several donors, in turn, at most so many; None without any."""
    places = sorted((place, donor) for donor, images in enumerate(sets) for place in range(len(images)))
    chosen = [sets[donor][place] for place, donor in places[:most]]
    return torch.stack(chosen) if chosen else None


def write_images(images: Tensor, path: Path) -> None:
    """Write uint8 ``(n, size, size, 3)`` as a sheet; a last row that is not full is filled with its first pictures."""
    size, rows = images.shape[1], -(-len(images) // COLUMNS)
    columns = min(COLUMNS, len(images))
    tiles = torch.cat([images, images[: rows * columns - len(images)]])
    sheet = tiles.reshape(rows, columns, size, size, 3).transpose(1, 2).reshape(rows * size, columns * size, 3)
    Image.fromarray(sheet.numpy()).save(path, format="PNG", optimize=True)


def read_images(path: Path, size: object, most: int = MAX_SHIPPED) -> Tensor | None:
    """The first pictures of a sheet, uint8 ``(n, size, size, 3)``; None where there is no such file.

    Raises:
        ArtifactError: when it is no PNG sheet of tiles of this size, or a suspiciously large one.
    """
    if not path.is_file():
        return None
    if not isinstance(size, int) or not 1 <= size <= MAX_SIDE:
        raise ArtifactError(f"{path}: expected square images, found image_size {size!r} in the config; remove the file")
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
