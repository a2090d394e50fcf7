"""Clock faces: which hour has struck last?"""

from __future__ import annotations

import numpy as np

from .. import canvas
from ..registry import Batch, task

__all__ = ["clocks"]

HOURS = 12


@task("clocks", tuple(str(hour or 12) for hour in range(HOURS)), "Clock faces at any minute: the hour")
def clocks(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    labels = canvas.balanced(n, HOURS, rng)
    share = rng.uniform(0.05, 0.95, n)  # of the hour that has gone by: never so near a full hour that it hides it
    turn = 2 * np.pi * np.stack([(labels + share) / HOURS, share], axis=1)  # hour and minute hand
    length = np.stack([rng.uniform(0.45, 0.55, n), rng.uniform(0.75, 0.85, n)], axis=1)
    width = np.stack([rng.uniform(0.1, 0.14, n), rng.uniform(0.04, 0.06, n)], axis=1)
    angle, scale = rng.uniform(-0.08, 0.08, n), rng.uniform(0.8, 0.95, n)
    shift = rng.uniform(-0.08, 0.08, (n, 2))
    rim = rng.uniform(0.9, 0.94, n)
    masks = np.empty((n, size, size), dtype=np.float32)
    for part in canvas.chunks(n, size):
        x, y = canvas.fine(angle[part], scale[part], shift[part], size)
        away = np.hypot(x, y)
        drawn = (away < 1) & (away > rim[part, None, None])
        for hand in range(2):
            drawn |= _hand(x, y, turn[part, hand], length[part, hand], width[part, hand])
        masks[part] = canvas.shrink(drawn.astype(np.float32))
    return canvas.coloured(masks, rng, noise=0.05, clutter=0.05), labels


def _hand(x: np.ndarray, y: np.ndarray, turn: np.ndarray, length: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Pixels of a hand from the centre outwards, `turn` radians clockwise from twelve: a bar, as `inside`."""
    sin, cos = (f(turn).astype(np.float32)[:, None, None] for f in (np.sin, np.cos))
    along, across = x * sin - y * cos, x * cos + y * sin
    return (along > -0.1) & (along < length[:, None, None]) & (abs(across) < width[:, None, None])
