"""Random letters: in which font face are they set?"""

from __future__ import annotations

import numpy as np

from .. import canvas
from ..fonts import FACES, atlas
from ..registry import Batch, task

__all__ = ["LETTERS", "typefaces"]

LETTERS = tuple("abdeghknpqrtuyABDEGHKMNPQRTUWY")


@task("typefaces", FACES, "One letter, in one of eight font faces: which face?")
def typefaces(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    """Hardly any turn: slant is what tells an oblique face from an upright one."""
    labels = canvas.balanced(n, len(FACES), rng)
    letter = rng.integers(len(LETTERS), size=n)
    angle, shift = rng.uniform(-0.03, 0.03, n), rng.uniform(-0.15, 0.15, (n, 2))
    scale = rng.uniform(1.0, 1.25, n)
    masks = canvas.warp_fine(atlas(LETTERS, size), (letter, labels), angle, scale, shift, size)
    return canvas.coloured(masks, rng, noise=0.03, clutter=0.02), labels
