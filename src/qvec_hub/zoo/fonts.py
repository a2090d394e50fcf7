"""Letters as images, from the fonts that ship inside matplotlib."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..errors import DataError

__all__ = ["FACES", "atlas", "label_font"]

POINTS = 0.75  # font size, in heights of a glyph's image, that fits nearly every letter of every face into it

FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
)


@lru_cache(maxsize=4)  # of one alphabet at 70 pixels 30 MB, drawn in half a second
def atlas(characters: tuple[str, ...], size: int, faces: tuple[str, ...] = FACES) -> NDArray[np.float32]:
    """Every character in every face: ``(characters, faces, 2·size, 2·size)``, 1 is ink, each centred on its ink.

    Args:
        size: pixels of an image whose height a glyph's image fills; it is rasterized at twice that.

    Raises:
        DataError: when a font file is missing from the installed matplotlib.
    """
    side = 2 * size
    glyphs = np.zeros((len(characters), len(faces), side, side), dtype=np.float32)
    for column, face in enumerate(faces):
        font = _font(face, round(POINTS * side))
        for row, character in enumerate(characters):
            glyphs[row, column] = _glyph(character, font, side)
    glyphs.setflags(write=False)  # shared by every caller
    return glyphs


def label_font(points: int) -> ImageFont.FreeTypeFont:
    """A font for writing on images."""
    return _font("DejaVuSans", points)


def _font(face: str, points: int) -> ImageFont.FreeTypeFont:
    path = _folder() / f"{face}.ttf"
    if not path.is_file():
        raise DataError(
            f"zoo: the font {face}.ttf is not in the installed matplotlib; reinstall matplotlib 3.8 or newer"
        )
    return ImageFont.truetype(str(path), points, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=1)
def _folder() -> Path:
    spec = find_spec("matplotlib")  # found without importing it, which would take a while
    if spec is None or spec.origin is None:
        raise DataError("zoo: matplotlib is not installed; the glyph tasks need its fonts")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


def _glyph(character: str, font: ImageFont.FreeTypeFont, side: int) -> NDArray[np.float32]:
    left, top, right, bottom = font.getbbox(character)
    image = Image.new("L", (side, side))
    corner = ((side - left - right) / 2, (side - top - bottom) / 2)
    ImageDraw.Draw(image).text(corner, character, fill=255, font=font)
    return np.asarray(image, dtype=np.float32) * np.float32(1 / 255)
