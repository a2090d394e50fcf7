"""Grey patches of photographs: which material is it?"""

from __future__ import annotations

import numpy as np

from .. import canvas
from ..photos import patches_of
from ..registry import Batch, task

__all__ = ["MATERIALS", "textures"]

# label: file in scikit-image's data folder
MATERIALS = {
    "brick": "brick.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "fur": "chelsea.png",
    "tissue": "ihc.png",
    "moon": "moon.png",
    "coins": "coins.png",
    "stars": "hubble_deep_field.jpg",
}


@task(
    "textures",
    tuple(MATERIALS),
    "Grey patches of eight photographs (scikit-image): which one they were cut from",
    tuple(MATERIALS.values()),
)
def textures(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    """Brightness and contrast vary by as much as they differ between classes, so the structure has to tell."""
    labels = canvas.balanced(n, len(MATERIALS), rng)
    grey = patches_of(tuple(MATERIALS.values()), labels, split, rng, size, spans=(36, 60)).mean(axis=-1)
    levels = (grey - 0.5) * rng.uniform(0.6, 1.2, (n, 1, 1)) + rng.uniform(0.4, 0.6, (n, 1, 1))
    flip = rng.random(n) < 0.5
    levels[flip] = levels[flip, :, ::-1]
    return canvas.finish(np.repeat(levels[..., None], 3, axis=-1), rng, noise=0.03), labels
