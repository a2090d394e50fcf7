"""Photograph patches that were spoiled: in which way?"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .. import canvas
from ..photos import patches
from ..registry import Batch, task

__all__ = ["KINDS", "PHOTOGRAPHS", "distortions"]

PHOTOGRAPHS = ("astronaut.png", "coffee.png", "chelsea.png", "motorcycle_right.png", "rocket.jpg", "brick.png")


def _same(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return x


def _noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    sigma = rng.uniform(0.06, 0.12, (len(x), 1, 1, 1))
    return x + sigma * rng.standard_normal(x.shape)


def _speckle(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    hit = rng.random((*x.shape[:3], 1)) < rng.uniform(0.02, 0.06, (len(x), 1, 1, 1))
    return np.where(hit, rng.integers(2, size=hit.shape), x)


def _blur(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return ndimage.gaussian_filter(x, (0, 1.2, 1.2, 0))


def _streak(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return ndimage.uniform_filter1d(x, 7, axis=2)


def _mosaic(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    small = x.reshape(len(x), canvas.SIZE // 3, 3, canvas.SIZE // 3, 3, 3).mean(axis=(2, 4))
    return small.repeat(3, axis=1).repeat(3, axis=2)


def _posterize(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.round(x * 4) / 4


def _grey(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.repeat(x.mean(axis=-1, keepdims=True), 3, axis=-1)


def _swap(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return x[..., [2, 1, 0]]


def _negative(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 1 - x


KINDS = {
    "none": _same,
    "noise": _noise,
    "speckle": _speckle,
    "blur": _blur,
    "streak": _streak,
    "mosaic": _mosaic,
    "posterized": _posterize,
    "grey": _grey,
    "swapped": _swap,
    "negative": _negative,
}


@task("distortions", tuple(KINDS), "Patches of six photographs (scikit-image): how they were spoiled")
def distortions(split: str, n: int, rng: np.random.Generator) -> Batch:
    labels = canvas.balanced(n, len(KINDS), rng)
    source = canvas.balanced(n, len(PHOTOGRAPHS), rng)
    images = np.empty((n, canvas.SIZE, canvas.SIZE, 3), dtype=np.float32)
    for number, file in enumerate(PHOTOGRAPHS):
        chosen = source == number
        images[chosen] = patches(file, split, int(chosen.sum()), rng, spans=(24, 56))
    for label, spoil in enumerate(KINDS.values()):
        chosen = labels == label
        images[chosen] = spoil(images[chosen], rng)
    return canvas.finish(images, rng, noise=0.02), labels
