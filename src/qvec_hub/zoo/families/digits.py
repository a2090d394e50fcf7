"""Handwritten digits: the 1,797 scans of scikit-learn (UCI), 8×8 pixels, enlarged."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .. import canvas
from ..registry import Batch, task

__all__ = ["digits", "samples"]

SHARES = {"train": 897, "validation": 300, "test": 600}  # scans a split owns


@lru_cache(maxsize=1)
def _scans() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    from sklearn.datasets import load_digits  # slow to import, so only when it is needed

    data = load_digits()
    return (data.images / 16).astype(np.float32), data.target.astype(np.int64)


@lru_cache(maxsize=3)
def samples(split: str) -> NDArray[np.int64]:
    """Numbers of the scans that belong to a split: fixed for good, and disjoint between splits."""
    order = np.random.default_rng(0).permutation(sum(SHARES.values()))
    first = sum(list(SHARES.values())[: list(SHARES).index(split)])
    return order[first : first + SHARES[split]]


@task("digits", tuple("0123456789"), "Handwritten digits, 1,797 real scans (scikit-learn), in random colours")
def digits(split: str, n: int, rng: np.random.Generator) -> Batch:
    """Train repeats its scans, each time turned, scaled and moved a little; the other splits never repeat one."""
    images, targets = _scans()
    own = rng.permutation(samples(split))
    chosen = np.resize(own, n) if split == "train" else own[:n]
    m = len(chosen)
    angle, scale, shift = np.zeros(m), np.full(m, 0.8), np.zeros((m, 2))
    if split == "train":
        angle = rng.uniform(-0.2, 0.2, m)
        scale = rng.uniform(0.7, 0.9, m)
        shift = rng.uniform(-0.12, 0.12, (m, 2))
    masks = canvas.warp(images[chosen], angle, scale, shift, canvas.SIZE)
    return canvas.coloured(masks, rng, noise=0.1, clutter=0.1), targets[chosen]
