"""A light disc and a dark square: where is the disc?"""

from __future__ import annotations

import numpy as np

from .. import canvas
from ..registry import Batch, task

__all__ = ["RELATIONS", "relations"]

RELATIONS = ("left", "right", "above", "below", "inside", "around", "in front", "behind")
SIDES = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)], dtype=np.float32)  # of the square, for the first four


@task("relations", RELATIONS, "A light disc and a dark square: where the disc is, seen from the square")
def relations(split: str, n: int, rng: np.random.Generator) -> Batch:
    labels = canvas.balanced(n, len(RELATIONS), rng)
    step, disc_size, square_size = _layout(labels, rng)
    middle = rng.uniform(-0.2, 0.2, (n, 2))
    disc_centre, square_centre = middle + step / 2, middle - step / 2
    disc_first = np.isin(labels, (RELATIONS.index("around"), RELATIONS.index("behind")))
    ground, disc_colour, square_colour = _colours(n, rng)
    angle = rng.uniform(-0.15, 0.15, n)
    images = np.empty((n, canvas.SIZE, canvas.SIZE, 3), dtype=np.float32)
    for part in canvas.chunks(n):
        x, y = canvas.coordinates(angle[part], disc_size[part], disc_centre[part])
        disc = x * x + y * y < 1
        x, y = canvas.coordinates(angle[part], square_size[part], square_centre[part])
        square = np.maximum(abs(x), abs(y)) < 1
        hidden = disc & square
        first = disc_first[part, None, None]
        disc, square = disc & ~(hidden & first), square & ~(hidden & ~first)
        discs, squares = (canvas.shrink(mask.astype(np.float32))[..., None] for mask in (disc, square))
        images[part] = (
            (1 - discs - squares) * ground[part, None, None]
            + discs * disc_colour[part, None, None]
            + squares * square_colour[part, None, None]
        )
    return canvas.finish(images, rng, noise=0.06, clutter=0.05), labels


def _layout(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Step from the square's centre to the disc's ``(n, 2)``, the disc's radius and half the square's side ``(n,)``."""
    n = len(labels)
    disc, square = rng.uniform(0.22, 0.36, n), rng.uniform(0.2, 0.32, n)
    beside, inside, around = labels < 4, labels == 4, labels == 5
    disc[inside], square[inside] = rng.uniform(0.2, 0.3, inside.sum()), rng.uniform(0.45, 0.6, inside.sum())
    disc[around], square[around] = rng.uniform(0.5, 0.65, around.sum()), rng.uniform(0.17, 0.25, around.sum())
    step = rng.uniform(-0.1, 0.1, (n, 2))
    gap = disc + square + rng.uniform(0.02, 0.2, n)
    step[beside] += SIDES[labels[beside]] * gap[beside, None]
    overlap = labels > 5
    toward = rng.uniform(0, 2 * np.pi, n)
    slide = np.stack([np.cos(toward), np.sin(toward)], axis=1) * (0.7 * (disc + square))[:, None]
    step[overlap] = slide[overlap]
    return step, disc, square


def _colours(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours ``(n, 3)`` of ground, disc and square: grey shades, tinted; the disc is the lighter figure."""
    tint = rng.uniform(-0.2, 0.2, (3, n, 3)).astype(np.float32)
    return 0.5 + tint[0], 0.8 + tint[1], 0.2 + tint[2]
