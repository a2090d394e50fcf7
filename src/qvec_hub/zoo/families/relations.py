"""A light disc and a dark square: where is the disc?"""

from __future__ import annotations

import numpy as np

from .. import canvas
from ..registry import Batch, task

__all__ = ["RELATIONS", "relations"]

RELATIONS = ("left", "right", "above", "below", "inside", "around", "in front", "behind")
STEPS = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])  # from the square to the disc, in the first four


@task("relations", RELATIONS, "A light disc and a dark square: where the disc is, seen from the square")
def relations(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    labels = canvas.balanced(n, len(RELATIONS), rng)
    step, radius, half = _layout(labels, rng)
    middle, angle = rng.uniform(-0.2, 0.2, (n, 2)), rng.uniform(-0.15, 0.15, n)
    ground, light, dark = rng.uniform(-0.2, 0.2, (3, n, 1, 1, 3)).astype(np.float32)
    disc_on_top = np.isin(labels, [RELATIONS.index(name) for name in ("inside", "in front")])[:, None, None, None]
    images = np.empty((n, size, size, 3), dtype=np.float32)
    for part in canvas.chunks(n, size):
        x, y = canvas.fine(angle[part], radius[part], middle[part] + step[part] / 2, size)
        disc = canvas.shrink((x * x + y * y < 1).astype(np.float32))[..., None]
        x, y = canvas.fine(angle[part], half[part], middle[part] - step[part] / 2, size)
        square = canvas.shrink((np.maximum(abs(x), abs(y)) < 1).astype(np.float32))[..., None]
        disc, square = (
            np.where(disc_on_top[part], disc, disc * (1 - square)),
            np.where(disc_on_top[part], square * (1 - disc), square),
        )
        images[part] = (1 - disc - square) * (0.5 + ground[part]) + disc * (0.8 + light[part])
        images[part] += square * (0.2 + dark[part])
    return canvas.finish(images, rng, noise=0.06, clutter=0.05), labels


def _layout(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Step from the square's centre to the disc's ``(n, 2)``, the disc's radius and half the square's side ``(n,)``."""
    n, name = len(labels), np.array(RELATIONS)[labels]
    radius, half = rng.uniform(0.22, 0.36, n), rng.uniform(0.2, 0.32, n)
    inside, around, beside = name == "inside", name == "around", labels < len(STEPS)
    radius = np.where(around, rng.uniform(0.5, 0.65, n), np.where(inside, 0.8 * radius, radius))
    half = np.where(inside, rng.uniform(0.45, 0.6, n), np.where(around, 0.8 * half, half))
    step = rng.uniform(-0.1, 0.1, (n, 2))
    reach = radius + half
    step[beside] += STEPS[labels[beside]] * (reach + rng.uniform(0.02, 0.2, n))[beside, None]
    overlap = ~(inside | around | beside)
    turn = rng.uniform(0, 2 * np.pi, n)
    aslant = np.stack([np.cos(turn), np.sin(turn)], axis=1) * 0.7 * reach[:, None]
    step[overlap] = aslant[overlap]
    return step, radius, half
