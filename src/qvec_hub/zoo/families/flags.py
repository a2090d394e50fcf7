"""Flags of no country: how is the field divided?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import canvas
from ..registry import Batch, task

__all__ = ["LAYOUTS", "flags"]

# Each layout is a function of position to the number (0, 1 or 2) of a pixel's colour, in a frame of -1 … 1.
Layout = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _thirds(x: np.ndarray) -> np.ndarray:
    return (x > -1 / 3).astype(int) + (x > 1 / 3)


def _chevron(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(x + 1 < 1 - abs(y), 2, y > 0)


def _canton(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where((x < -0.1) & (y < 0.1), 2, np.floor(3.5 * (y + 1)) % 2)


LAYOUTS: dict[str, Layout] = {
    "stripes across": lambda x, y: _thirds(y),
    "stripes down": lambda x, y: _thirds(x),
    "stripes aslant": lambda x, y: _thirds(0.8 * (x + y)),
    "cross": lambda x, y: np.where(np.minimum(abs(x + 0.2), abs(y)) < 0.2, 2, 0),
    "saltire": lambda x, y: np.where(np.minimum(abs(x - y), abs(x + y)) < 0.28, 2, 0),
    "quarters": lambda x, y: (x > 0) ^ (y > 0),
    "gyron": lambda x, y: (x > 0) ^ (y > 0) ^ (abs(x) > abs(y)),
    "border": lambda x, y: np.where(np.maximum(abs(x), abs(y)) > 0.6, 2, 0),
    "disc": lambda x, y: np.where(np.hypot(x, y) < 0.55, 2, 0),
    "chevron": _chevron,
    "canton": _canton,
    "saw": lambda x, y: x > -0.1 + 0.5 * abs((2 * y) % 2 - 1),
}


@task("flags", tuple(LAYOUTS), "Twelve ways to divide a flag in two or three random colours, waving a little")
def flags(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    labels = canvas.balanced(n, len(LAYOUTS), rng)
    colours = _colours(n, rng)
    angle, scale = rng.uniform(-0.15, 0.15, n), rng.uniform(0.7, 0.9, n)
    shift, phase = rng.uniform(-0.1, 0.1, (n, 2)), rng.uniform(0, 2 * np.pi, n)
    images = np.empty((n, size, size, 3), dtype=np.float32)
    layouts = list(LAYOUTS.values())
    for label, chosen in canvas.by_class(labels, size):
        x, y = canvas.fine(angle[chosen], scale[chosen], shift[chosen], size)
        waved = y + 0.1 * np.sin(3 * x + phase[chosen, None, None])
        field = np.where(np.maximum(abs(x), abs(waved)) < 1, layouts[label](x, waved), 3)  # 3 is the sky
        images[chosen] = sum(
            canvas.shrink((field == number).astype(np.float32))[..., None] * colours[chosen, number][:, None, None]
            for number in range(4)
        )
    return canvas.finish(images, rng, noise=0.08, clutter=0.05), labels


def _colours(n: int, rng: np.random.Generator) -> np.ndarray:
    """Colours ``(n, 4, 3)`` of a flag and its sky, the best told apart of six random sets."""
    sets = rng.random((6, n, 4, 3), dtype=np.float32)
    gaps = abs(sets[:, :, :, None] - sets[:, :, None]).mean(axis=-1) + 9 * np.eye(4, dtype=np.float32)
    best = gaps.min(axis=(2, 3)).argmax(axis=0)
    return sets[best, np.arange(n)]
