"""Crops of the bundled photographs."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["crop"]

NAMES = ("raccoon", "ascent", "hopper")
SMALLEST = 24  # pixels of a photograph that a crop is at least wide: below, it is one colour and its neighbour


@cache
def photograph(name: str) -> Image.Image:
    """A bundled photograph, see ``data/README.md``."""
    with as_file(files(__package__) / "data" / f"{name}.jpg") as path, Image.open(path) as image:
        return image.convert("RGB")


def crop(size: tuple[int, int], rng: np.random.Generator, index: int) -> NDArray[np.float32]:
    """A window of any scale, brought to `size`: ``(height, width, 3)`` in [0, 1]; half of them mirrored."""
    image = photograph(NAMES[int(rng.integers(len(NAMES)))])
    height, width = size
    most = min(image.width / width, image.height / height)  # how many times `size` fits
    least = min(most, SMALLEST / min(size))
    factor = np.exp(rng.uniform(np.log(least), np.log(most)))
    wide, high = factor * width, factor * height
    left, top = rng.uniform(0, image.width - wide), rng.uniform(0, image.height - high)
    window = image.resize((width, height), Image.Resampling.BICUBIC, box=(left, top, left + wide, top + high))
    pixels = np.asarray(window, dtype=np.float32) * np.float32(1 / 255)
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels
