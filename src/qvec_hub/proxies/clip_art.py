"""Bundled clip art on grounds of any colour."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["clip_art"]

TILE, ACROSS = 96, 32  # the sheet holds 32 × 32 drawings of 96 × 96 pixels
WHITE = 0.4  # share of drawings on white
WHOLE = 0.7  # share of images that show a whole drawing, with some ground around it; the others show a part


@cache
def sheet() -> Image.Image:
    """All drawings, with transparent grounds; see ``data/README.md``."""
    with as_file(files(__package__) / "data" / "clip_art.webp") as path, Image.open(path) as image:
        return image.convert("RGBA")


def clip_art(size: tuple[int, int], rng: np.random.Generator, index: int) -> NDArray[np.float32]:
    """A drawing, whole or a part of it: ``(height, width, 3)`` in [0, 1]; half of them mirrored."""
    row, column = divmod(int(rng.integers(ACROSS * ACROSS)), ACROSS)
    tile = sheet().crop((column * TILE, row * TILE, (column + 1) * TILE, (row + 1) * TILE))
    ground = (255,) * 3 if rng.random() < WHITE else tuple(map(int, rng.integers(0, 256, 3)))
    height, width = size
    share = rng.uniform(1, 1.6) if rng.random() < WHOLE else rng.uniform(0.4, 1)
    high, wide = (int(TILE * share * side / min(size)) for side in (height, width))
    canvas = Image.new("RGB", (wide, high), ground)
    left, top = (int(rng.integers(min(0, room), max(0, room) + 1)) for room in (wide - TILE, high - TILE))
    canvas.paste(tile, (left, top), tile)
    smaller = high > height
    image = canvas.resize((width, height), Image.Resampling.BOX if smaller else Image.Resampling.BICUBIC)
    pixels = np.asarray(image, dtype=np.float32) * np.float32(1 / 255)
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels
