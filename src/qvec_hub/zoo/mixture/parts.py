"""The parts of the mixture, which share one label space, and drawing them together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import canvas
from ..families.glyphs import draw_glyphs
from ..registry import Batch
from . import figures, scenes, surfaces

__all__ = ["ARMENIAN", "CLASSES", "GEORGIAN", "HEBREW", "PARTS", "draw_mixture"]

ARMENIAN = tuple(chr(code) for start in (0x531, 0x561) for code in range(start, start + 38))
GEORGIAN = tuple(chr(code) for code in range(0x10D0, 0x10F1))
HEBREW = tuple(chr(code) for code in range(0x5D0, 0x5EB))

Paint = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # labels (n,) -> images (n, SIZE, SIZE, 3) uint8


@dataclass(frozen=True)
class Part:
    """One kind of image: its classes, its share of the images, and how they are drawn."""

    classes: tuple[str, ...]
    share: float
    paint: Paint


def _letters(script: str, characters: tuple[str, ...], faces: tuple[str, ...], share: float) -> Part:
    names = tuple(f"{script} {character}" for character in characters)
    return Part(names, share, lambda labels, rng: draw_glyphs(characters, labels, rng, canvas.SIZE, faces))


def _numbered(classes: int, share: float, paint: Paint) -> Part:
    return Part(tuple(f"{paint.__name__} {number}" for number in range(classes)), share, paint)


_MANY = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Bold")
_FEW = ("DejaVuSans", "DejaVuSans-Bold")

PARTS = (
    _letters("armenian", ARMENIAN, _MANY, 0.14),
    _letters("georgian", GEORGIAN, _MANY, 0.07),
    _letters("hebrew", HEBREW, _FEW, 0.06),
    _numbered(figures.LOBES, 0.06, figures.lobes),
    _numbered(figures.BLOBS, 0.09, figures.blobs),
    _numbered(figures.SQUIGGLES, 0.09, figures.squiggles),
    _numbered(figures.PLACES, 0.10, figures.constellations),
    _numbered(figures.DIRECTIONS, 0.05, figures.needles),
    _numbered(figures.DIRECTIONS // 2, 0.04, figures.rings),
    _numbered(len(surfaces.SLOPES) * len(surfaces.STRETCHES), 0.06, surfaces.fields),
    _numbered(len(surfaces.WAVES), 0.05, surfaces.plaids),
    _numbered(8, 0.03, surfaces.slopes),
    _numbered(surfaces.SPECKS, 0.03, surfaces.specks),
    _numbered(len(surfaces.MOSAICS), 0.05, surfaces.mosaics),
    _numbered(scenes.STROKES, 0.03, scenes.strokes),
    _numbered(scenes.SIDES, 0.02, scenes.pairs),
    _numbered(scenes.HUES, 0.03, scenes.hues),
)
CLASSES = tuple(name for part in PARTS for name in part.classes)


def draw_mixture(n: int, rng: np.random.Generator) -> Batch:
    """Images ``(n, SIZE, SIZE, 3)`` uint8 and labels ``(n,)`` into `CLASSES`, shuffled."""
    images, labels, first = [], [], 0
    counts = [int(part.share * n) for part in PARTS]
    counts[0] += n - sum(counts)
    for part, count in zip(PARTS, counts, strict=True):
        own = canvas.balanced(count, len(part.classes), rng)
        images += [part.paint(own[piece], rng) for piece in canvas.chunks(count, canvas.SIZE)]
        labels.append(own + first)
        first += len(part.classes)
    order = rng.permutation(n)
    return np.concatenate(images)[order], np.concatenate(labels)[order]
