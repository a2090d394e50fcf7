"""A contact sheet of tasks: one line of examples for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from .canvas import SIZE
from .fonts import label_font
from .registry import arrays

__all__ = ["contact_sheet"]

SIDE, GAP, LABEL = 48, 4, 130  # least pixels of an image's side; between two; for a task's name


def contact_sheet(names: Sequence[str], examples: int = 12, columns: int = 2, size: int = SIZE) -> Image.Image:
    """The first test images of each task, with its name on the left, in so many columns of tasks.

    Args:
        size: of the images, which are enlarged by a whole number to at least `SIDE`.

    Raises:
        DataError: an unknown task, or a size that one cannot be drawn at.
    """
    zoom = -(-SIDE // size)
    cell = size * zoom + GAP
    width, height = LABEL + examples * cell, cell
    lines = -(-len(names) // columns)
    sheet = Image.new("RGB", (columns * width + GAP, lines * height + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), label_font(13)
    for number, name in enumerate(names):
        left, top = number // lines * width + GAP, number % lines * height + GAP
        draw.text((left + LABEL - 2 * GAP, top + cell // 2 - GAP), name, fill="black", font=font, anchor="rm")
        images, _ = arrays(name, "test", examples, size=size)
        for column, image in enumerate(images):
            large = np.kron(image, np.ones((zoom, zoom, 1), dtype=np.uint8))
            sheet.paste(Image.fromarray(large), (left + LABEL + column * cell, top))
    return sheet
