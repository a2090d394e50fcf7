"""Letters of three alphabets in eight font faces."""

from __future__ import annotations

import numpy as np

from .. import canvas
from ..fonts import FACES, atlas
from ..registry import Batch, Draw, task

__all__ = ["ALPHABETS", "draw_glyphs"]

ALPHABETS = {
    "latin": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "greek": "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ",
    "cyrillic": "АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ",
}


def draw_glyphs(
    characters: tuple[str, ...],
    labels: np.ndarray,
    rng: np.random.Generator,
    size: int,
    faces: tuple[str, ...] = FACES,
) -> np.ndarray:
    """Images ``(n, size, size, 3)`` of ``characters[label]``: random face, turn, size, place, colours and noise."""
    letters = atlas(characters, size, faces)
    n = len(labels)
    face = rng.integers(letters.shape[1], size=n)
    angle = rng.uniform(-0.25, 0.25, n)
    scale = rng.uniform(0.85, 1.2, n)
    shift = rng.uniform(-0.12, 0.12, (n, 2))
    masks = canvas.warp_fine(letters, (labels, face), angle, scale, shift, size)
    return canvas.coloured(masks, rng, noise=0.05, clutter=0.05)


def _alphabet(script: str) -> Draw:
    """Both cases of a letter are one class."""
    upper = tuple(ALPHABETS[script])
    characters = upper + tuple(letter.lower() for letter in upper)

    def draw(split: str, n: int, rng: np.random.Generator, size: int) -> Batch:
        labels = canvas.balanced(n, len(upper), rng)
        return draw_glyphs(characters, labels + len(upper) * rng.integers(2, size=n), rng, size), labels

    return draw


for _script, _letters in ALPHABETS.items():
    task(f"glyphs-{_script}", tuple(_letters), f"Letters of the {_script} alphabet, both cases, eight font faces")(
        _alphabet(_script)
    )
