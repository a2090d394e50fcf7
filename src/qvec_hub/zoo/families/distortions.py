"""Photograph patches that were spoiled: in which way?"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .. import canvas
from ..photos import patches_of
from ..registry import Batch, task

__all__ = ["KINDS", "PHOTOGRAPHS", "distortions"]

# Detailed ones: a blurred patch of plain wall looks like the wall.
PHOTOGRAPHS = ("ihc.png", "motorcycle_right.png", "chelsea.png", "gravel.png", "grass.png", "astronaut.png")


def _same(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return x


def _noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    sigma = rng.uniform(0.1, 0.2, (len(x), 1, 1, 1))
    return x + sigma * rng.standard_normal(x.shape)


def _speckle(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    hit = rng.random((*x.shape[:3], 1)) < rng.uniform(0.02, 0.06, (len(x), 1, 1, 1))
    return np.where(hit, rng.integers(2, size=hit.shape), x)


def _blur(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return ndimage.gaussian_filter(x, (0, 2, 2, 0))


def _streak(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return ndimage.uniform_filter1d(x, 7, axis=2)


def _mosaic(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    small = x.reshape(len(x), canvas.SIZE // 4, 4, canvas.SIZE // 4, 4, 3).mean(axis=(2, 4))
    return small.repeat(4, axis=1).repeat(4, axis=2)


def _negative(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 1 - x


KINDS = {
    "none": _same,
    "noise": _noise,
    "speckle": _speckle,
    "blur": _blur,
    "streak": _streak,
    "mosaic": _mosaic,
    "negative": _negative,
}


@task("distortions", tuple(KINDS), "Patches of six photographs (scikit-image): how they were spoiled")
def distortions(split: str, n: int, rng: np.random.Generator) -> Batch:
    labels = canvas.balanced(n, len(KINDS), rng)
    source = canvas.balanced(n, len(PHOTOGRAPHS), rng)
    images = patches_of(PHOTOGRAPHS, source, split, rng, spans=(24, 56))
    for label, spoil in enumerate(KINDS.values()):
        chosen = labels == label
        images[chosen] = spoil(images[chosen], rng)
    return canvas.finish(images, rng, noise=0.02), labels
