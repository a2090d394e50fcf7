"""How many discs are there?"""

from __future__ import annotations

import numpy as np

from .. import canvas
from ..registry import Batch, task

__all__ = ["MOST", "counting"]

MOST = 8
PLACES = 4  # the image is a loose PLACES × PLACES board with at most one disc a field


@task("counting", tuple(str(k + 1) for k in range(MOST)), "One to eight discs of mixed sizes and shades")
def counting(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    labels = canvas.balanced(n, MOST, rng)
    fields = rng.permuted(np.tile(np.arange(PLACES**2), (n, 1)), axis=1)[:, :MOST]  # (n, MOST)
    pitch = 2 / PLACES
    jitter = rng.uniform(-0.06, 0.06, (n, MOST, 2))
    centres = np.stack([fields % PLACES, fields // PLACES], axis=-1) * pitch - 1 + pitch / 2 + jitter
    radii = rng.uniform(0.11, 0.22, (n, MOST))
    radii[np.arange(MOST)[None, :] > labels[:, None]] = 0  # label k has k + 1 discs
    front, back = canvas.colour_pairs(rng, n)
    strength = rng.uniform(0.45, 1.0, (n, MOST)).astype(np.float32)
    masks = np.zeros((n, size, size), dtype=np.float32)
    for part in canvas.chunks(n, size):
        fine = np.zeros((part.stop - part.start, 2 * size, 2 * size), dtype=np.float32)
        for k in range(MOST):
            x, y = _offsets(centres[part, k], 2 * size)
            disc = x * x + y * y < radii[part, k, None, None] ** 2
            np.maximum(fine, disc * strength[part, k, None, None], out=fine)
        masks[part] = canvas.shrink(fine)
    return canvas.finish(canvas.paint(masks, front, back), rng, noise=0.07, clutter=0.06), labels


def _offsets(centre: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances from a centre along x ``(n, 1, size)`` and y ``(n, size, 1)``."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    centre = centre.astype(np.float32)
    return axis[None, None, :] - centre[:, 0, None, None], axis[None, :, None] - centre[:, 1, None, None]
