"""Small images that fonts hold beside letters: weather, zodiac, chess, cards, warnings."""

from __future__ import annotations

import numpy as np

from .. import canvas
from ..registry import Batch, task
from .glyphs import draw_glyphs

__all__ = ["PICTOGRAMS", "pictograms"]

# label: character
PICTOGRAMS = {
    "sun": "☀",
    "cloud": "☁",
    "umbrella": "☂",
    "snowman": "☃",
    "comet": "☄",
    "star": "★",
    "telephone": "☎",
    "skull": "☠",
    "radioactive": "☢",
    "biohazard": "☣",
    "peace": "☮",
    "yin yang": "☯",
    "wheel": "☸",
    "smile": "☺",
    "taurus": "♉",
    "gemini": "♊",
    "leo": "♌",
    "libra": "♎",
    "queen": "♛",
    "rook": "♜",
    "knight": "♞",
    "spade": "♠",
    "club": "♣",
    "note": "♫",
    "recycling": "♻",
    "anchor": "⚓",
    "swords": "⚔",
    "scissors": "✂",
    "aeroplane": "✈",
    "envelope": "✉",
}
PICTOGRAM_FACES = ("DejaVuSans", "DejaVuSans-Bold")  # the others lack some of them


@task("pictograms", tuple(PICTOGRAMS), "Thirty pictograms of the DejaVu fonts: weather, zodiac, chess, cards, signs")
def pictograms(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
    labels = canvas.balanced(n, len(PICTOGRAMS), rng)
    return draw_glyphs(tuple(PICTOGRAMS.values()), labels, rng, size, PICTOGRAM_FACES), labels
