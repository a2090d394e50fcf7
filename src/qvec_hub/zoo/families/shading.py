"""Bumps lit from one side: which one?"""

from __future__ import annotations

import numpy as np

from .. import canvas
from ..registry import Batch, task

__all__ = ["SIDES", "shading"]

SIDES = ("right", "lower right", "below", "lower left", "left", "upper left", "above", "upper right")
MOST = 4  # bumps an image


@task("shading", SIDES, "Round bumps in slanting light: the side it comes from")
def shading(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    """Lambert's law: brightness is the cosine of the angle between the surface's normal and the light."""
    labels = canvas.balanced(n, len(SIDES), rng)
    azimuth = labels * (2 * np.pi / len(SIDES)) + rng.normal(0, 0.08, n)
    height = np.deg2rad(rng.uniform(20, 50, n))
    lean_x, lean_y = _leaning(n, rng, size)
    light_x, light_y = np.cos(height) * np.cos(azimuth), np.cos(height) * np.sin(azimuth)
    east, south, up = (part.astype(np.float32)[:, None, None] for part in (light_x, light_y, np.sin(height)))
    bright = np.clip((east * lean_x + south * lean_y + up) / np.sqrt(1 + lean_x**2 + lean_y**2), 0, 1)
    surface = rng.uniform(0.45, 1, (n, 1, 1, 3)) * (1 + 0.1 * canvas.blur_noise(rng, n, size, cells=9))[..., None]
    return canvas.finish((0.12 + 0.88 * bright[..., None]) * surface, rng, noise=0.06), labels


def _leaning(n: int, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the surface's normals where z is 1, ``(n, size, size)`` each: spherical caps on a plane."""
    lean_x, lean_y = np.zeros((2, n, size, size), dtype=np.float32)
    count = rng.integers(2, MOST + 1, size=n)
    for k in range(MOST):
        centre = rng.uniform(-0.75, 0.75, (n, 2))
        x, y = canvas.coordinates(np.zeros(n), rng.uniform(0.3, 0.55, n), centre, size)
        away = x * x + y * y
        cap = (away < 1) & (k < count)[:, None, None]
        steep = np.sqrt(np.maximum(1.2 - away, 0.2))  # of a sphere a little wider than the cap
        np.copyto(lean_x, x / steep, where=cap)
        np.copyto(lean_y, y / steep, where=cap)
    return lean_x, lean_y
