"""Letters in braille."""

from __future__ import annotations

import numpy as np

from .. import canvas
from ..registry import Batch, task

__all__ = ["DOTS", "braille"]

# A letter and its raised dots; 1, 2, 3 go down the left column, 4, 5, 6 down the right one.
TABLE = (
    "a1 b12 c14 d145 e15 f124 g1245 h125 i24 j245 k13 l123 m134 n1345 o135 p1234 q12345 r1235 s234 t2345 "
    "u136 v1236 w2456 x1346 y13456 z1356"
)
DOTS = {entry[0]: entry[1:] for entry in TABLE.split()}
PITCH = 0.5  # between neighbouring dots, in half image widths


@task("braille", tuple(DOTS), "Letters in braille, flat dots showing faintly")
def braille(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    labels = canvas.balanced(n, len(DOTS), rng)
    raised = np.array([[str(dot + 1) in dots for dot in range(6)] for dots in DOTS.values()])[labels]
    height = np.where(raised, rng.uniform(0.65, 1.0, (n, 6)), rng.uniform(0.0, 0.15, (n, 6))).astype(np.float32)
    radius = rng.uniform(0.15, 0.22, n).astype(np.float32)[:, None, None]
    angle, scale = rng.uniform(-0.2, 0.2, n), rng.uniform(0.9, 1.2, n)
    shift = rng.uniform(-0.15, 0.15, (n, 2))
    masks = np.zeros((n, size, size), dtype=np.float32)
    for part in canvas.chunks(n, size):
        x, y = canvas.fine(angle[part], scale[part], shift[part], size)
        fine = np.zeros_like(x)
        for dot in range(6):
            away = np.hypot(x - PITCH * (dot // 3 - 0.5), y - PITCH * (dot % 3 - 1))
            np.maximum(fine, (away < radius[part]) * height[part, dot, None, None], out=fine)
        masks[part] = canvas.shrink(fine)
    return canvas.coloured(masks, rng, noise=0.06, clutter=0.06), labels
