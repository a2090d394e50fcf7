"""Nine tiles of a photograph, one of which is of another: where?"""

from __future__ import annotations

import numpy as np

from .. import canvas
from ..photos import patches_of
from ..registry import Batch, task

__all__ = ["PLACES", "intruders"]

PLACES = tuple(f"{row} {column}" for row in ("upper", "middle", "lower") for column in ("left", "centre", "right"))

PHOTOGRAPHS = (
    "gravel.png",
    "ihc.png",
    "retina.jpg",
    "china.jpg",
    "coffee.png",
    "flower.jpg",
    "brick.png",
    "hubble_deep_field.jpg",
)


@task(
    "intruders",
    PLACES,
    "Patches of eight photographs in which one of nine tiles is of another photograph: where",
    PHOTOGRAPHS,
)
def intruders(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    labels = canvas.balanced(n, len(PLACES), rng)
    source = canvas.balanced(n, len(PHOTOGRAPHS), rng)
    other = (source + rng.integers(1, len(PHOTOGRAPHS), size=n)) % len(PHOTOGRAPHS)
    images, strange = (patches_of(PHOTOGRAPHS, each, split, rng, size, spans=(32, 60)) for each in (source, other))
    for label in range(len(PLACES)):
        chosen = np.flatnonzero(labels == label)
        rows, columns = (slice(size * k // 3, size * (k + 1) // 3) for k in divmod(label, 3))
        images[chosen, rows, columns] = strange[chosen, rows, columns]
    return canvas.finish(images, rng, noise=0.03), labels
