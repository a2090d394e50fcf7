"""Photograph patches that were spoiled: in which way?"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import ndimage

from .. import canvas
from ..photos import patches_of
from ..registry import Batch, task

__all__ = ["KINDS", "PHOTOGRAPHS", "distortions"]

# Detailed ones: a blurred patch of plain wall looks like the wall.
PHOTOGRAPHS = ("ihc.png", "motorcycle_right.png", "chelsea.png", "gravel.png", "grass.png", "astronaut.png")

STONES = 6  # of a mosaic, in a row and in a column


def _same(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return x


def _noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    sigma = rng.uniform(0.1, 0.2, (len(x), 1, 1, 1))
    return x + sigma * rng.standard_normal(x.shape)


def _speckle(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    hit = rng.random((*x.shape[:3], 1)) < rng.uniform(0.02, 0.06, (len(x), 1, 1, 1))
    return np.where(hit, rng.integers(2, size=hit.shape), x)


def _blur(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    sigma = x.shape[1] / 12
    return ndimage.gaussian_filter(x, (0, sigma, sigma, 0))


def _streak(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return ndimage.uniform_filter1d(x, 2 * (x.shape[2] // 7) + 1, axis=2)


def _mosaic(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    edges = np.arange(STONES + 1) * x.shape[1] // STONES
    even = np.empty_like(x)
    for top, bottom in pairwise(edges):
        for left, right in pairwise(edges):
            stone = (slice(None), slice(top, bottom), slice(left, right))
            even[stone] = x[stone].mean(axis=(1, 2), keepdims=True)
    return even


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


@task("distortions", tuple(KINDS), "Patches of six photographs (scikit-image): how they were spoiled", PHOTOGRAPHS)
def distortions(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    labels = canvas.balanced(n, len(KINDS), rng)
    source = canvas.balanced(n, len(PHOTOGRAPHS), rng)
    images = patches_of(PHOTOGRAPHS, source, split, rng, size, spans=(24, 56))
    for label, spoil in enumerate(KINDS.values()):
        chosen = labels == label
        images[chosen] = spoil(images[chosen], rng)
    return canvas.finish(images, rng, noise=0.02), labels
