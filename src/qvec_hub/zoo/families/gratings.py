"""Sine gratings: which direction, and how fine?"""

from __future__ import annotations

import numpy as np

from .. import canvas
from ..registry import Batch, task

__all__ = ["CYCLES", "DEGREES", "gratings"]

DEGREES = (0, 30, 60, 90, 120, 150)
CYCLES = (3, 5)  # per image width


@task(
    "gratings",
    tuple(f"{degrees}° {cycles} cycles" for degrees in DEGREES for cycles in CYCLES),
    "Noisy sine gratings of six directions and two frequencies",
)
def gratings(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    labels = canvas.balanced(n, len(DEGREES) * len(CYCLES), rng)
    angle = np.deg2rad(np.array(DEGREES)[labels // len(CYCLES)] + rng.normal(0, 6, n))
    cycles = np.array(CYCLES)[labels % len(CYCLES)] * np.exp(rng.normal(0, 0.12, n))
    phase = rng.uniform(0, 2 * np.pi, n)
    x, _ = canvas.coordinates(angle, np.ones(n), np.zeros((n, 2)), size)
    masks = 0.5 + 0.5 * np.sin(np.pi * cycles[:, None, None] * x + phase[:, None, None])
    return canvas.coloured(masks.astype(np.float32), rng, noise=0.12, clutter=0.08, contrast=0.15), labels
