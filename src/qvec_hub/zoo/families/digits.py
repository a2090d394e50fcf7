"""Handwritten digits: the 1,797 scans of scikit-learn (UCI), 8×8 pixels, enlarged.

No other task is interpolated; a larger image of these shows a smoother digit, not more of it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
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


def _enlarged(scans: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Scans ``(n, 8, 8)`` as ``(n, side, side)``, bicubic; with side 8 they stay as they are."""
    smooth = F.interpolate(torch.from_numpy(scans)[:, None], size=(side, side), mode="bicubic", align_corners=False)
    return smooth[:, 0].clamp(0, 1).numpy()


@task("digits", tuple("0123456789"), "Handwritten digits, 1,797 real scans (scikit-learn), in random colours")
def digits(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
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
    masks = canvas.warp(_enlarged(images[chosen], size // 3), angle, scale, shift, size)
    return canvas.coloured(masks, rng, noise=0.1, clutter=0.1), targets[chosen]
