"""Draw proxy images: a reproducible mixture of photograph crops, clip art, shapes, drawings, patterns and noise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..errors import QVecError
from .clip_art import clip_art
from .dead_leaves import dead_leaves
from .drawings import drawing, pattern
from .photo_crops import crop
from .pink_noise import pink_noise

__all__ = ["MAX_SIZE", "proxy_images"]

MAX_SIZE = 1024  # pixels; larger crops would only enlarge the photographs
# One after the other.
KINDS = (
    *(crop, clip_art, drawing, dead_leaves, clip_art, pattern),
    *(crop, clip_art, drawing, dead_leaves, clip_art, pink_noise),
)


@lru_cache(maxsize=4)
def proxy_images(count: int, size: int | tuple[int, int] = 224, seed: int = 0) -> NDArray[np.uint8]:
    """Draw proxy images, uint8 ``(count, height, width, 3)``; the array is shared by all callers and read-only.

    Of every twelve images four are clip art in the public domain, two each are random crops of three photographs in the
    public domain, dead leaves (shapes that cover each other) and drawings, and one each is a pattern of stripes or
    waves, and 1/f noise. A longer draw begins with the images of a shorter one.

    Args:
        count: number of images, 1 or more.
        size: height and width in pixels, or a pair (height, width), from 1 to 1024.
        seed: the same seed, count and size give the same images.

    Raises:
        QVecError: when count or size is out of range.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if count < 1 or not (1 <= height <= MAX_SIZE and 1 <= width <= MAX_SIZE):
        raise QVecError(
            f"proxy images: expected at least 1 image of 1 to {MAX_SIZE} pixels, found {count} of {height} × {width}"
        )
    images = np.empty((count, height, width, 3), dtype=np.uint8)
    for index, seeds in enumerate(np.random.SeedSequence(seed).spawn(count)):
        rng = np.random.default_rng(seeds)
        image = KINDS[index % len(KINDS)]((height, width), rng, index // len(KINDS))
        images[index] = np.rint(np.clip(image, 0, 1) * 255)
    images.setflags(write=False)
    return images
