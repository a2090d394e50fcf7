"""The colour of the larger patch, among distractors."""

from __future__ import annotations

import numpy as np

from .. import canvas
from ..registry import Batch, task

__all__ = ["COLOURS", "colours"]

# name: hue in degrees
COLOURS = {
    "red": 0,
    "orange": 30,
    "yellow": 58,
    "green": 110,
    "teal": 165,
    "cyan": 190,
    "blue": 225,
    "violet": 265,
    "magenta": 300,
    "rose": 335,
}


@task("colours", tuple(COLOURS), "The hue of a disc in front of stripes of other hues")
def colours(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    labels = canvas.balanced(n, len(COLOURS), rng)
    hue = np.array(list(COLOURS.values()), dtype=np.float32)[labels] + rng.normal(0, 6, n)
    disc = _rgb(hue, rng.uniform(0.4, 1, n), rng.uniform(0.5, 1, n))
    other = [_rgb(rng.uniform(0, 360, n), rng.uniform(0.2, 1, n), rng.uniform(0.3, 1, n)) for _ in range(2)]
    angle, zero = rng.uniform(0, 2 * np.pi, n), np.zeros(n)
    x, _ = canvas.coordinates(angle, np.ones(n), np.zeros((n, 2)), size)
    stripes = (np.sin(x * rng.uniform(4, 9, n)[:, None, None]) > 0).astype(np.float32)
    u, v = canvas.coordinates(zero, rng.uniform(0.3, 0.55, n), rng.uniform(-0.35, 0.35, (n, 2)), size)
    inside = (u * u + v * v < 1)[..., None]
    images = np.where(inside, disc[:, None, None, :], canvas.paint(stripes, other[0], other[1]))
    return canvas.finish(images, rng, noise=0.08, clutter=0.05), labels


def _rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """HSV to RGB ``(n, 3)``; hue in degrees, the others in [0, 1]."""
    k = (np.array([5.0, 3.0, 1.0]) + (hue / 60)[:, None]) % 6
    dip = np.clip(np.minimum(k, 4 - k), 0, 1)
    return (value[:, None] * (1 - saturation[:, None] * dip)).astype(np.float32)
