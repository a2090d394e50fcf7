"""Tiled floors: in which pattern?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import canvas
from ..registry import Batch, task

__all__ = ["TILINGS", "tilings"]

# Each pattern is a function of position, in tiles, to the ink of a pixel: True on joints or on dark tiles.
Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]
JOINT = 0.13  # half a joint's width, in tiles


def _near(x: np.ndarray) -> np.ndarray:
    """Is it within a joint of a whole number?"""
    return abs(x - np.rint(x)) < JOINT


def _bricks(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    row = np.floor(1.6 * y)
    return _near(1.6 * y) | _near(0.8 * x + 0.5 * (row % 2))


def _hexagons(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A pixel is on a joint where its two nearest centres of the hexagonal lattice are about as far."""
    x, y = 0.75 * x, 0.75 * y
    best, second = np.full_like(x, 9), np.full_like(x, 9)
    for offset in (0.0, 0.5):
        u, v = x - offset, y / np.sqrt(3) - offset
        for column in (np.floor(u), np.floor(u) + 1):
            for row in (np.floor(v), np.floor(v) + 1):
                away = np.hypot(u - column, (v - row) * np.sqrt(3))
                second = np.minimum(second, np.maximum(best, away))
                best = np.minimum(best, away)
    return second - best < 1.5 * JOINT


def _triangles(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = 0.45 * x, 0.45 * y / np.sqrt(3)
    return _near(2 * y) | _near(x + y) | _near(x - y)


def _scales(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Overlapping discs, row over row, as on a fish."""
    x, y = 0.7 * x, 0.7 * y
    ink = np.zeros(x.shape, dtype=bool)
    row = np.floor(2 * y)
    for below in (2, 1, 0):
        line = row - below
        away = np.hypot((x + 0.5 * (line % 2) + 0.5) % 1 - 0.5, y - 0.5 * line)
        ink = np.where(away < 0.5 + JOINT / 2, away > 0.5 - JOINT, ink)
    return ink


def _weave(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    across = (np.floor(x) + np.floor(y)) % 2 == 0
    return np.where(across, _near(y) | _near(y + 0.5), _near(x) | _near(x + 0.5))


TILINGS: dict[str, Pattern] = {
    "squares": lambda x, y: _near(x) | _near(y),
    "diamonds": lambda x, y: _near(0.7 * (x + y)) | _near(0.7 * (x - y)),
    "bricks": _bricks,
    "hexagons": _hexagons,
    "triangles": _triangles,
    "scales": _scales,
    "weave": _weave,
    "checks": lambda x, y: (np.floor(x) + np.floor(y)) % 2 == 0,
    "dots": lambda x, y: np.hypot(x - np.rint(x), y - np.rint(y)) < 0.3,
    "planks": lambda x, y: _near(1.6 * x) | _near(0.5 * y + 0.37 * np.floor(1.6 * x)),
}


@task("tilings", tuple(TILINGS), "Ten patterns of tiles, of many sizes and slightly turned")
def tilings(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    labels = canvas.balanced(n, len(TILINGS), rng)
    angle, scale = rng.uniform(-0.2, 0.2, n), rng.uniform(0.4, 0.6, n)  # half a tile's side, in half image widths
    shift = rng.uniform(-1, 1, (n, 2))
    masks = np.empty((n, size, size), dtype=np.float32)
    patterns = list(TILINGS.values())
    for label, chosen in canvas.by_class(labels, size):
        x, y = canvas.fine(angle[chosen], scale[chosen], shift[chosen], size)
        masks[chosen] = canvas.shrink(patterns[label](x, y).astype(np.float32))
    flip = rng.random(n) < 0.5
    masks[flip] = 1 - masks[flip]
    return canvas.coloured(masks, rng, noise=0.08, clutter=0.06), labels
