"""Patches of the photographs that ship inside scikit-image and scikit-learn, each split in regions of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import DataError
from .canvas import LARGEST, SIZE

__all__ = ["cell_side", "cells", "largest_size", "patches", "patches_of", "photograph"]

CELL = 64  # pixels of a cell's side, up to images of 48 pixels
ROOM = 4 / 3  # a cell's side in sides of an image, for larger images
SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}  # of a photograph's cells


class Home(NamedTuple):
    """An installed package that holds photographs."""

    name: str
    module: str
    folder: str
    since: str  # the oldest version that is known to hold them


IMAGE = Home("scikit-image", "skimage", "data", "0.22")
LEARN = Home("scikit-learn", "sklearn", "datasets/images", "1.4")


@lru_cache(maxsize=32)
def photograph(file: str) -> NDArray[np.uint8]:
    """A photograph ``(height, width, 3)`` by its file name in the data of scikit-image or scikit-learn.

    Raises:
        DataError: when the installed package does not hold it. Nothing is ever downloaded.
    """
    home = LEARN if file in ("china.jpg", "flower.jpg") else IMAGE
    path = _folder(home) / file
    if not path.is_file():
        raise DataError(f"zoo: {file} is not in the installed {home.name}; reinstall {home.name} {home.since} or newer")
    with Image.open(path) as image:
        pixels = np.array(image.convert("RGB"))
    pixels.setflags(write=False)  # shared by every caller
    return pixels


@lru_cache(maxsize=2)
def _folder(home: Home) -> Path:
    spec = find_spec(home.module)  # found without importing it
    if spec is None or spec.origin is None:
        raise DataError(f"zoo: {home.name} is not installed; the photograph tasks need its images")
    return Path(spec.origin).parent / home.folder


def cell_side(size: int) -> int:
    """Pixels of a cell's side, for images of that size: a photograph is cut into cells, which no patch leaves."""
    return max(CELL, round(ROOM * size))


def largest_size(files: Sequence[str]) -> int:
    """Largest image for which each photograph has a cell for every split."""

    def enough(size: int) -> bool:
        side = cell_side(size)
        shapes = (photograph(file).shape for file in files)
        return all((height // side) * (width // side) >= len(SHARES) for height, width, _ in shapes)

    return max(size for size in range(SIZE, LARGEST + 1) if enough(size))


@lru_cache(maxsize=128)
def cells(file: str, split: str, size: int) -> tuple[tuple[int, int], ...]:
    """Top-left corners (y, x) of a split's cells: fixed for good at each size, and disjoint between splits.

    Args:
        size: pixels of an image that is cut from a cell.
    """
    side = cell_side(size)
    height, width = photograph(file).shape[:2]
    corners = [(y, x) for y in range(0, height - side + 1, side) for x in range(0, width - side + 1, side)]
    order = np.random.default_rng(0).permutation(len(corners))
    train = min(round(SHARES["train"] * len(corners)), len(corners) - 2)  # of few cells, one each for the others
    last = [train, train + max(1, round(SHARES["validation"] * len(corners))), len(corners)]
    number = list(SHARES).index(split)
    chosen = order[last[number - 1] if number else 0 : last[number]]
    return tuple(corners[i] for i in sorted(chosen))


def patches(
    file: str, split: str, n: int, rng: np.random.Generator, size: int, spans: tuple[int, int]
) -> NDArray[np.float32]:
    """Random patches of a split's cells, ``(n, size, size, 3)`` in [0, 1].

    Each is a square of the photograph, averaged down to `size` and never enlarged.

    Args:
        spans: least and largest side of a square, inclusive, in 64ths of its cell's side.
    """
    source, corners, cell = photograph(file), cells(file, split, size), cell_side(size)
    low, high = (max(size, span * cell // CELL) for span in spans)
    result = np.empty((n, size, size, 3), dtype=np.uint8)
    which = rng.integers(len(corners), size=n)
    sides = rng.integers(low, high + 1, size=n)
    offsets = rng.random((n, 2))
    for i in range(n):
        y, x = corners[which[i]]
        side = int(sides[i])
        top = y + int(offsets[i, 0] * (cell - side + 1))
        left = x + int(offsets[i, 1] * (cell - side + 1))
        patch = source[top : top + side, left : left + side]
        if side != size:
            patch = np.asarray(Image.fromarray(patch).resize((size, size), Image.Resampling.BOX))
        result[i] = patch
    return result.astype(np.float32) * np.float32(1 / 255)


def patches_of(
    files: Sequence[str],
    which: NDArray[np.int64],
    split: str,
    rng: np.random.Generator,
    size: int,
    spans: tuple[int, int],
) -> NDArray[np.float32]:
    """A patch of ``files[k]`` for each ``k`` in `which`, as `patches` draws them: ``(n, size, size, 3)`` in [0, 1]."""
    images = np.empty((len(which), size, size, 3), dtype=np.float32)
    for number, file in enumerate(files):
        chosen = which == number
        images[chosen] = patches(file, split, int(chosen.sum()), rng, size, spans)
    return images
