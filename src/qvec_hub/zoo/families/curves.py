"""One pencil line: how does it run?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import canvas
from ..registry import Batch, task

__all__ = ["CURVES", "curves"]

POINTS = 80  # a line is drawn as that many overlapping dots

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
def curves(split: str, n: int, rng: np.random.Generator) -> Batch:
    labels = canvas.balanced(n, len(CURVES), rng)
    t, wound = np.linspace(-1, 1, POINTS), rng.random((n, 1))
    points = np.empty((n, POINTS, 2), dtype=np.float32)
    for label, curve in enumerate(CURVES.values()):
        chosen = np.flatnonzero(labels == label)
        points[chosen] = np.stack(np.broadcast_arrays(*curve(t, wound[chosen])), axis=-1)
    points = _place(points, rng)
    width = rng.uniform(0.07, 0.1, n)
    masks = np.empty((n, canvas.SIZE, canvas.SIZE), dtype=np.float32)
    for part in canvas.chunks(n, 128):
        masks[part] = canvas.shrink(_line(points[part], width[part]))
    return canvas.coloured(masks, rng, noise=0.06, clutter=0.05), labels


def _place(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lines ``(n, POINTS, 2)`` turned, mirrored, scaled and moved at random."""
    n = len(points)
    turn, scale = rng.uniform(0, 2 * np.pi, n), rng.uniform(0.6, 0.85, n)
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    mirror = rng.choice([-1.0, 1.0], n)
    frame = np.stack([np.stack([cos, sin], -1), np.stack([-sin * mirror, cos * mirror], -1)], axis=1)
    return (points @ frame + rng.uniform(-0.12, 0.12, (n, 1, 2))).astype(np.float32)


def _line(points: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Ink ``(n, FINE, FINE)`` of lines of half that width."""
    axis = ((np.arange(canvas.FINE) + 0.5) * (2 / canvas.FINE) - 1).astype(np.float32)
    across = (axis[None, None, :] - points[:, :, 0, None]) ** 2  # (n, POINTS, FINE)
    down = (axis[None, None, :] - points[:, :, 1, None]) ** 2
    nearest = np.full((len(points), canvas.FINE, canvas.FINE), np.inf, dtype=np.float32)
    for point in range(POINTS):
        np.minimum(nearest, down[:, point, :, None] + across[:, point, None, :], out=nearest)
    return (nearest < (width**2)[:, None, None]).astype(np.float32)
