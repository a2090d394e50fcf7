"""What the zoo's base is pretrained on: drawn figures that no task of the zoo contains.

Letters of scripts that are not among the tasks, curves with lobes, noise fields of different grain,
and bundles of strokes. All classes of all four kinds share one label space.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import canvas
from .families.glyphs import draw_glyphs
from .registry import Batch

__all__ = ["CLASSES", "PARTS", "draw_mixture"]

ARMENIAN = tuple(chr(code) for start in (0x531, 0x561) for code in range(start, start + 38))
GEORGIAN = tuple(chr(code) for code in range(0x10D0, 0x10F1))
HEBREW = tuple(chr(code) for code in range(0x5D0, 0x5EB))

Paint = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # labels (n,) -> images (n, SIZE, SIZE, 3) uint8


@dataclass(frozen=True)
class Part:
    """One kind of figure: its classes, its share of the images, and how they are drawn."""

    classes: tuple[str, ...]
    share: float
    paint: Paint


def _letters(characters: tuple[str, ...], faces: tuple[str, ...]) -> Paint:
    return lambda labels, rng: draw_glyphs(characters, labels, rng, faces)


def _lobes(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Closed curves with ``label + 2`` lobes of random depth, filled or outlined."""
    n = len(labels)
    x, y = canvas.coordinates(rng.uniform(0, 2 * np.pi, n), rng.uniform(0.4, 0.8, n), rng.uniform(-0.2, 0.2, (n, 2)))
    depth = rng.uniform(0.12, 0.35, n)[:, None, None]
    wave = np.cos((labels + 2)[:, None, None] * np.arctan2(y, x))
    level = np.hypot(x, y) / (1 - depth + depth * wave)
    hollow = (rng.random(n) < 0.5)[:, None, None]
    mask = canvas.shrink(((level < 1) & ~(hollow & (level < 0.65))).astype(np.float32))
    return canvas.finish(canvas.paint(mask, *canvas.colour_pairs(rng, n)), rng, noise=0.08, clutter=0.06)


SLOPES = (0.5, 1.5, 2.5)  # of the amplitude spectrum: fine to coarse grain
STRETCHES = ((1.0, 0.0), (3.0, 0.0), (3.0, np.pi / 4), (3.0, np.pi / 2), (3.0, 3 * np.pi / 4))  # (factor, direction)


def _fields(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise whose spectrum falls with a class's slope and is stretched along a class's direction."""
    n = len(labels)
    slope = np.array(SLOPES)[labels % len(SLOPES)][:, None, None]
    factor, direction = np.array(STRETCHES)[labels // len(SLOPES)].T[..., None, None]
    fy, fx = np.fft.fftfreq(canvas.SIZE)[None, :, None], np.fft.rfftfreq(canvas.SIZE)[None, None, :]
    along = np.cos(direction) * fx + np.sin(direction) * fy
    across = np.cos(direction) * fy - np.sin(direction) * fx
    amplitude = (np.hypot(along * factor, across) + 0.02) ** -slope
    spectrum = amplitude * (rng.standard_normal(amplitude.shape) + 1j * rng.standard_normal(amplitude.shape))
    field = np.fft.irfft2(spectrum, s=(canvas.SIZE, canvas.SIZE))
    field -= field.mean(axis=(1, 2), keepdims=True)
    field *= 0.25 / field.std(axis=(1, 2), keepdims=True)
    mask = np.clip(field + 0.5, 0, 1).astype(np.float32)
    return canvas.finish(canvas.paint(mask, *canvas.colour_pairs(rng, n)), rng, noise=0.04)


STROKES = 6


def _strokes(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``label + 1`` straight strokes of random place, direction and length."""
    n = len(labels)
    mask = np.zeros((n, canvas.FINE, canvas.FINE), dtype=np.float32)
    for k in range(STROKES):
        x, y = canvas.coordinates(rng.uniform(0, np.pi, n), np.ones(n), rng.uniform(-0.6, 0.6, (n, 2)))
        length, width = rng.uniform(0.25, 0.7, (n, 1, 1)), rng.uniform(0.06, 0.12, (n, 1, 1))
        mask = np.where((abs(x) < length) & (abs(y) < width) & (k <= labels)[:, None, None], np.float32(1), mask)
    images = canvas.paint(canvas.shrink(mask), *canvas.colour_pairs(rng, n))
    return canvas.finish(images, rng, noise=0.06, clutter=0.05)


_MANY = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Bold")
_FEW = ("DejaVuSans", "DejaVuSans-Bold")

PARTS = (
    Part(tuple(f"armenian {c}" for c in ARMENIAN), 0.35, _letters(ARMENIAN, _MANY)),
    Part(tuple(f"georgian {c}" for c in GEORGIAN), 0.15, _letters(GEORGIAN, _MANY)),
    Part(tuple(f"hebrew {c}" for c in HEBREW), 0.1, _letters(HEBREW, _FEW)),
    Part(tuple(f"{k} lobes" for k in range(2, 9)), 0.15, _lobes),
    Part(tuple(f"field {k}" for k in range(len(SLOPES) * len(STRETCHES))), 0.15, _fields),
    Part(tuple(f"{k + 1} strokes" for k in range(STROKES)), 0.1, _strokes),
)
CLASSES = tuple(name for part in PARTS for name in part.classes)


def draw_mixture(n: int, rng: np.random.Generator) -> Batch:
    """Images ``(n, SIZE, SIZE, 3)`` uint8 and labels ``(n,)`` into `CLASSES`, shuffled."""
    images, labels, first = [], [], 0
    counts = [int(part.share * n) for part in PARTS]
    counts[0] += n - sum(counts)
    for part, count in zip(PARTS, counts, strict=True):
        own = canvas.balanced(count, len(part.classes), rng)
        images += [part.paint(own[piece], rng) for piece in canvas.chunks(count)]
        labels.append(own + first)
        first += len(part.classes)
    order = rng.permutation(n)
    return np.concatenate(images)[order], np.concatenate(labels)[order]
