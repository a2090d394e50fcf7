"""Dead leaves: shapes of all sizes that cover each other, as things in a photograph do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .pink_noise import pink_noise

__all__ = ["dead_leaves"]

COUNTS = (4, 40)  # leaves in an image
RADII = (0.04, 0.6)  # of the image's shorter side


def dead_leaves(size: tuple[int, int], rng: np.random.Generator, index: int = 0) -> NDArray[np.float32]:
    """Rectangles, ellipses and rings in random colours, half of the images over noise: ``(height, width, 3)``."""
    height, width = size
    image = np.empty((height, width, 3), dtype=np.float32)
    image[:] = rng.random(3)
    for _ in range(int(rng.integers(*COUNTS))):
        _drop_leaf_(image, rng)
    if rng.random() < 0.5:
        image += (pink_noise(size, rng) - 0.5) * np.float32(rng.uniform(0, 0.8))
    return image


def _drop_leaf_(image: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Draw one leaf over what is there, with soft edges, one pixel wide."""
    height, width = image.shape[:2]
    radius = min(height, width) * np.exp(rng.uniform(*np.log(RADII)))
    top, left = rng.uniform(-0.2, 1.2, 2) * (height, width)
    angle, aspect, kind = rng.uniform(0, np.pi), rng.uniform(0.3, 1), rng.random()
    reach = 1.5 * radius + 2  # the corner of a square is farther away than its side
    rows = slice(max(0, int(top - reach)), max(0, int(top + reach) + 1))
    columns = slice(max(0, int(left - reach)), max(0, int(left + reach) + 1))
    part = image[rows, columns]
    if not part.size:
        return
    y = np.arange(part.shape[0], dtype=np.float32)[:, None] + np.float32(rows.start + 0.5 - top)
    x = np.arange(part.shape[1], dtype=np.float32) + np.float32(columns.start + 0.5 - left)
    along, across = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / aspect
    outside = np.maximum(np.abs(along), np.abs(across)) if kind < 0.4 else np.hypot(along, across)
    outside = outside - radius  # pixels to the border, negative inside
    if kind > 0.85:
        outside = np.abs(outside) - radius * rng.uniform(0.05, 0.2)
    cover = np.clip(0.5 - outside, 0, 1)[..., None]
    colour = rng.random(3) if rng.random() < 0.6 else np.full(3, rng.random())
    shade = (rng.uniform(-0.3, 0.3) * np.clip(along / radius, -1, 1))[..., None]
    part += cover * ((colour + shade).astype(np.float32) - part)
