"""Random letters: in which font face are they set?"""

from __future__ import annotations

import numpy as np

from .. import canvas
from ..fonts import FACES, atlas
from ..registry import Batch, task

__all__ = ["LETTERS", "typefaces"]

LETTERS = tuple("abdeghknpqrtuyABDEGHKMNPQRTUWY")


@task("typefaces", FACES, "One letter, in one of eight font faces: which face?")
def typefaces(split: str, n: int, rng: np.random.Generator) -> Batch:
    """Hardly any turn: slant is what tells an oblique face from an upright one."""
    labels = canvas.balanced(n, len(FACES), rng)
    letters = atlas(LETTERS)[rng.integers(len(LETTERS), size=n), labels]
    masks = np.empty((n, canvas.SIZE, canvas.SIZE), dtype=np.float32)
    angle, shift = rng.uniform(-0.03, 0.03, n), rng.uniform(-0.15, 0.15, (n, 2))
    scale = rng.uniform(1.0, 1.25, n)
    for part in canvas.chunks(n):
        masks[part] = canvas.shrink(canvas.warp(letters[part], angle[part], scale[part], shift[part]))
    front, back = canvas.colour_pairs(rng, n)
    return canvas.finish(canvas.paint(masks, front, back), rng, noise=0.03, clutter=0.02), labels
