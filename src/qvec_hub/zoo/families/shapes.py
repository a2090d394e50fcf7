"""Outlined and filled figures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import canvas
from ..registry import Batch, task

__all__ = ["SHAPES", "shapes"]

# Each figure is a function of position that is below 1 inside, in a frame of -1 … 1.
Figure = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _polygon(corners: int) -> Figure:
    half = np.pi / corners

    def inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        angle = (np.arctan2(y, x) % (2 * half)) - half
        return np.hypot(x, y) * np.cos(angle) / np.cos(half)

    return inside


def _star(points: int) -> Figure:
    def inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        folded = np.abs((np.arctan2(y, x) * points / (2 * np.pi)) % 1 - 0.5) * 2  # 0 in a dent, 1 on a point
        return np.hypot(x, y) / (0.4 + 0.6 * folded**1.5)

    return inside


def _flower(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.hypot(x, y) / (0.7 + 0.3 * np.cos(5 * np.arctan2(y, x)))


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    long, wide = np.maximum(abs(x), abs(y)), np.minimum(abs(x), abs(y))
    return np.maximum(long, wide / 0.3)


def _heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.hypot(x, 1.1 * y + 0.25 - 0.75 * np.sqrt(abs(x) + 1e-6)) / 0.85


def _crescent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.hypot(x, y), 0.75 / (np.hypot(x - 0.5, y) + 1e-6))


SHAPES: dict[str, Figure] = {
    "circle": np.hypot,
    "ellipse": lambda x, y: np.hypot(x, y / 0.55),
    "triangle": _polygon(3),
    "square": _polygon(4),
    "pentagon": _polygon(5),
    "hexagon": _polygon(6),
    "bar": lambda x, y: np.maximum(abs(x), abs(y) / 0.35),
    "star": _star(5),
    "flower": _flower,
    "cross": _cross,
    "heart": _heart,
    "crescent": _crescent,
}


@task("shapes", tuple(SHAPES), "Twelve figures, filled or outlined, slightly turned, of many sizes and colours")
def shapes(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    labels = canvas.balanced(n, len(SHAPES), rng)
    angle = rng.uniform(-0.4, 0.4, n)
    scale = rng.uniform(0.55, 0.9, n)
    shift = rng.uniform(-0.12, 0.12, (n, 2))
    hollow = rng.random(n) < 0.3
    masks = np.empty((n, size, size), dtype=np.float32)
    figures = list(SHAPES.values())
    for label, chosen in canvas.by_class(labels, size):
        level = figures[label](*canvas.fine(angle[chosen], scale[chosen], shift[chosen], size))
        ring = hollow[chosen, None, None] & (level < 0.68)
        masks[chosen] = canvas.shrink(((level < 1) & ~ring).astype(np.float32))
    return canvas.coloured(masks, rng, noise=0.06, clutter=0.05), labels
