"""Several things in one image: how many, in what relation, of what colour?"""

from __future__ import annotations

import numpy as np

from .. import canvas

__all__ = ["HUES", "SIDES", "STROKES", "hues", "pairs", "strokes"]

STROKES, SIDES, HUES = 6, 8, 9


def strokes(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``label + 1`` straight strokes of random place, direction and length."""
    n = len(labels)
    mask = np.zeros((n, 2 * canvas.SIZE, 2 * canvas.SIZE), dtype=np.float32)
    for k in range(STROKES):
        x, y = canvas.fine(rng.uniform(0, np.pi, n), np.ones(n), rng.uniform(-0.6, 0.6, (n, 2)), canvas.SIZE)
        length, width = rng.uniform(0.25, 0.7, (n, 1, 1)), rng.uniform(0.06, 0.12, (n, 1, 1))
        mask = np.where((abs(x) < length) & (abs(y) < width) & (k <= labels)[:, None, None], np.float32(1), mask)
    return canvas.coloured(canvas.shrink(mask), rng, noise=0.06, clutter=0.05)


def pairs(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A small lozenge and a large one: in which direction is the large one?"""
    n = len(labels)
    turn = (labels + rng.uniform(-0.3, 0.3, n)) * (2 * np.pi / SIDES)
    half = rng.uniform(0.35, 0.5, n)[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    middle = rng.uniform(-0.2, 0.2, (n, 2))
    images = np.broadcast_to(rng.random((n, 1, 1, 3), dtype=np.float32), (n, canvas.SIZE, canvas.SIZE, 3))
    for sign, low, high in ((-1, 0.14, 0.2), (1, 0.3, 0.4)):
        x, y = canvas.fine(np.zeros(n), rng.uniform(low, high, n), middle + sign * half, canvas.SIZE)
        inside = canvas.shrink((abs(x) + abs(y) < 1.2).astype(np.float32))[..., None]
        images = images + inside * (rng.random((n, 1, 1, 3), dtype=np.float32) - images)
    return canvas.finish(images, rng, noise=0.05, clutter=0.04)


def hues(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A square of one of nine hues on a grey ground of any grain."""
    n = len(labels)
    angle = (labels + rng.uniform(-0.25, 0.25, n))[:, None] * (2 * np.pi / HUES) + np.array([0, -2, 2]) * np.pi / 3
    colour = 0.5 + rng.uniform(0.25, 0.5, (n, 1)) * np.cos(angle) + rng.uniform(-0.2, 0.2, (n, 1))  # (n, 3)
    turn, half = rng.uniform(0, np.pi, n), rng.uniform(0.3, 0.7, n)
    x, y = canvas.fine(turn, half, rng.uniform(-0.4, 0.4, (n, 2)), canvas.SIZE)
    inside = canvas.shrink((np.maximum(abs(x), abs(y)) < 1).astype(np.float32))[..., None]
    ground = rng.uniform(0.2, 0.8, (n, 1, 1, 1)) + 0.15 * canvas.blur_noise(rng, n, canvas.SIZE, cells=8)[..., None]
    return canvas.finish(ground + inside * (colour[:, None, None, :] - ground), rng, noise=0.05)
