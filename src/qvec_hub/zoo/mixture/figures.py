"""One figure on a plain ground: its form, or where it points, is the class."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from .. import canvas

__all__ = ["BLOBS", "DIRECTIONS", "LOBES", "PLACES", "SQUIGGLES", "blobs", "constellations", "lobes", "needles",
           "rings", "squiggles"]  # fmt: skip

LOBES, BLOBS, SQUIGGLES, PLACES, DIRECTIONS = 7, 24, 24, 32, 16

# Forms that are classes of their own are drawn by lot once and for all.
_LOT = np.random.default_rng(7)
_WAVES = _LOT.normal(0, 1, (BLOBS, 2, 4)) / np.arange(1, 5)  # of a blob's outline: cosine and sine of 1 … 4 turns
_STATIONS = _LOT.uniform(-0.8, 0.8, (SQUIGGLES, 5, 2))  # that a squiggle's line passes
_FOURS = _LOT.choice(list(combinations(range(9), 4)), PLACES, replace=False)  # places of a 3×3 grid, (PLACES, 4)
_MARKED = (_FOURS[:, :, None] == np.arange(9)).any(axis=1)


def _placed(n: int, rng: np.random.Generator, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in a frame somewhat moved and scaled, and turned by up to `turn` radians."""
    shift = rng.uniform(-0.2, 0.2, (n, 2))
    return canvas.fine(rng.uniform(-turn, turn, n), rng.uniform(0.5, 0.85, n), shift, canvas.SIZE)


def _drawn(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return canvas.coloured(canvas.shrink(mask.astype(np.float32)), rng, noise=0.07, clutter=0.06)


def lobes(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Closed curves with ``label + 2`` lobes of random depth, filled or outlined."""
    n = len(labels)
    x, y = _placed(n, rng, np.pi)
    depth = rng.uniform(0.12, 0.35, n)[:, None, None]
    wave = np.cos((labels + 2)[:, None, None] * np.arctan2(y, x))
    level = np.hypot(x, y) / (1 - depth + depth * wave)
    hollow = (rng.random(n) < 0.5)[:, None, None]
    return _drawn((level < 1) & ~(hollow & (level < 0.65)), rng)


def blobs(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Uneven closed curves, one outline a class, filled or outlined."""
    n = len(labels)
    x, y = _placed(n, rng, 0.4)
    angle, radius = np.arctan2(y, x), np.full(x.shape, 0.75, dtype=np.float32)
    for turns in range(4):
        cosine, sine = 0.16 * _WAVES[labels, :, turns].T[..., None, None]
        radius += cosine * np.cos((turns + 1) * angle) + sine * np.sin((turns + 1) * angle)
    level = np.hypot(x, y) / np.maximum(radius, 0.1)
    hollow = (rng.random(n) < 0.3)[:, None, None]
    return _drawn((level < 1) & ~(hollow & (level < 0.65)), rng)


def squiggles(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Broken lines through four stations, one course a class."""
    n = len(labels)
    x, y = _placed(n, rng, 0.3)
    width = rng.uniform(0.1, 0.16, n)[:, None, None]
    stations = _STATIONS[labels] + rng.normal(0, 0.04, (n, *_STATIONS.shape[1:]))
    mask = np.zeros(x.shape, dtype=bool)
    for start, end in zip(stations[:, :-1].swapaxes(0, 1), stations[:, 1:].swapaxes(0, 1), strict=True):
        way = (end - start).T[..., None, None]
        u, v = x - start[:, 0, None, None], y - start[:, 1, None, None]
        share = np.clip((u * way[0] + v * way[1]) / (way[0] ** 2 + way[1] ** 2 + 1e-6), 0, 1)
        mask |= np.hypot(u - share * way[0], v - share * way[1]) < width
    return _drawn(mask, rng)


def constellations(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Four dots on some of nine places, which ones is the class."""
    n = len(labels)
    x, y = _placed(n, rng, 0.12)
    size = rng.uniform(0.17, 0.25, n)[:, None, None]
    column, row = (np.clip(np.rint(way / 0.66), -1, 1) for way in (x, y))
    away = np.hypot(x - 0.66 * column, y - 0.66 * row)
    place = (column + 1 + 3 * (row + 1)).astype(int)
    marked = np.take_along_axis(_MARKED[labels], place.reshape(n, -1), axis=1).reshape(place.shape)
    return _drawn(marked & (away < size), rng)


def needles(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A tapering needle: the direction of its point."""
    n = len(labels)
    turn = (labels + rng.uniform(-0.3, 0.3, n)) * (2 * np.pi / DIRECTIONS)
    shift = rng.uniform(-0.25, 0.25, (n, 2))
    x, y = canvas.fine(turn, rng.uniform(0.5, 0.8, n), shift, canvas.SIZE)
    return _drawn((abs(x) < 1) & (abs(y) < rng.uniform(0.15, 0.3, n)[:, None, None] * (1 - x)), rng)


def rings(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A ring with a gap (Landolt's C): the side of the gap."""
    n = len(labels)
    turn = (labels + rng.uniform(-0.3, 0.3, n)) * (4 * np.pi / DIRECTIONS)
    x, y = canvas.fine(turn, rng.uniform(0.4, 0.8, n), rng.uniform(-0.2, 0.2, (n, 2)), canvas.SIZE)
    away = np.hypot(x, y)
    return _drawn((away < 1) & (away > 0.55) & ~((x > 0) & (abs(y) < 0.3)), rng)
