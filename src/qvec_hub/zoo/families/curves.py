"""One pencil line: how does it run?"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .. import canvas
from ..registry import Batch, task

__all__ = ["CURVES", "curves"]

DOTS = 80  # a line is drawn as that many overlapping dots at 24 pixels, and closer ones in larger images

# Each curve takes the way along it, -1 … 1, and a number in [0, 1] that tells how wound it is, to x and y.
Curve = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _arc(t: np.ndarray, wound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    half = 1.0 + 0.8 * wound
    return np.sin(half * t) / np.sin(np.minimum(half, np.pi / 2)), (np.cos(half * t) - np.cos(half)) * 0.8 - 0.3


def _wave(t: np.ndarray, wound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return t, 0.5 * np.sin(np.pi * (1 + 0.4 * wound) * t)


def _zigzag(t: np.ndarray, wound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return t, 0.8 * abs((t * (2 + wound)) % 2 - 1) - 0.4


def _battlement(t: np.ndarray, wound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return t, 0.35 * np.clip(2 * np.sin(np.pi * (1.5 + wound) * t), -1, 1)


def _spiral(t: np.ndarray, wound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    way = (t + 1) / 2
    turn = 2 * np.pi * (1.3 + 0.6 * wound) * np.sqrt(way)
    return 0.9 * np.sqrt(way) * np.cos(turn), 0.9 * np.sqrt(way) * np.sin(turn)


def _loop(t: np.ndarray, wound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    turn = 1.25 * np.pi * t
    return 0.8 * t - (0.45 + 0.25 * wound) * np.sin(turn), 0.35 - 0.7 * (1 + np.cos(turn)) / 2


def _eight(t: np.ndarray, wound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.sin(np.pi * t), (0.4 + 0.3 * wound) * np.sin(2 * np.pi * t)


def _corner(t: np.ndarray, wound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return t, (0.6 + 0.6 * wound) * (abs(t) - 0.5)


CURVES: dict[str, Curve] = {
    "arc": _arc,
    "wave": _wave,
    "zigzag": _zigzag,
    "battlement": _battlement,
    "spiral": _spiral,
    "loop": _loop,
    "eight": _eight,
    "corner": _corner,
}


@task("curves", tuple(CURVES), "One line, turned any way: arc, wave, zigzag, spiral, loop …")
def curves(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    labels = canvas.balanced(n, len(CURVES), rng)
    dots = round(DOTS * size / canvas.SIZE)
    t, wound = np.linspace(-1, 1, dots), rng.random((n, 1))
    points = np.empty((n, dots, 2), dtype=np.float32)
    for label, curve in enumerate(CURVES.values()):
        chosen = np.flatnonzero(labels == label)
        points[chosen] = np.stack(np.broadcast_arrays(*curve(t, wound[chosen])), axis=-1)
    points = _place(points, rng)
    width = rng.uniform(0.07, 0.1, n)
    masks = np.empty((n, size, size), dtype=np.float32)
    for part in canvas.chunks(n, size):
        masks[part] = canvas.shrink(_line(points[part], width[part], 2 * size))
    return canvas.coloured(masks, rng, noise=0.06, clutter=0.05), labels


def _place(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lines ``(n, dots, 2)`` turned, mirrored, scaled and moved at random."""
    n = len(points)
    turn, scale = rng.uniform(0, 2 * np.pi, n), rng.uniform(0.6, 0.85, n)
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    mirror = rng.choice([-1.0, 1.0], n)
    frame = np.stack([np.stack([cos, sin], -1), np.stack([-sin * mirror, cos * mirror], -1)], axis=1)
    return (points @ frame + rng.uniform(-0.12, 0.12, (n, 1, 2))).astype(np.float32)


def _line(points: np.ndarray, width: np.ndarray, size: int) -> np.ndarray:
    """Ink ``(n, size, size)`` of lines of half that width; each dot is drawn in the square around it."""
    axis = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
    ink = np.zeros((len(points), size, size), dtype=bool)
    reach = math.ceil(float(width.max()) * size / 2) + 1
    around = np.arange(-reach, reach + 1)
    image, limit = np.arange(len(points))[:, None, None], (width**2)[:, None, None]
    for dot in points.swapaxes(0, 1):  # (n, 2)
        middle = np.floor((dot + 1) * size / 2).astype(int)
        columns, rows = (np.clip(middle[:, k, None] + around, 0, size - 1) for k in range(2))
        across, down = ((axis[each] - dot[:, k, None]) ** 2 for k, each in enumerate((columns, rows)))
        drawn = down[:, :, None] + across[:, None, :] < limit
        ink[image, rows[:, :, None], columns[:, None, :]] |= drawn
    return ink.astype(np.float32)
