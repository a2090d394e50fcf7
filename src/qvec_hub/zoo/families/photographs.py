"""Patches of photographs in changing colours: from which one?"""

from __future__ import annotations

import numpy as np

from .. import canvas
from ..photos import patches_of
from ..registry import Batch, task

__all__ = ["MOTIFS", "photographs"]

# label: file of scikit-image or scikit-learn; none of them is in `textures`
MOTIFS = {
    "palace": "china.jpg",
    "dahlia": "flower.jpg",
    "coffee": "coffee.png",
    "rocket": "rocket.jpg",
    "retina": "retina.jpg",
    "print": "page.png",
    "cameraman": "camera.png",
    "cell": "cell.png",
}


@task(
    "photographs",
    tuple(MOTIFS),
    "Patches of eight photographs in changing colours: which one they were cut from",
    tuple(MOTIFS.values()),
)
def photographs(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    """The strength of every colour channel varies, so that no single shade gives a photograph away."""
    labels = canvas.balanced(n, len(MOTIFS), rng)
    images = patches_of(tuple(MOTIFS.values()), labels, split, rng, size, spans=(48, 64))
    images *= rng.uniform(0.85, 1.1, (n, 1, 1, 3))
    flip = rng.random(n) < 0.5
    images[flip] = images[flip, :, ::-1]
    return canvas.finish(images, rng, noise=0.03), labels
