"""A contact sheet of tasks: one line of examples for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from .canvas import SIZE
from .fonts import label_font
from .registry import arrays

__all__ = ["contact_sheet"]

ZOOM, GAP, LABEL = 2, 4, 130  # times as large as an image; pixels between two; pixels for a task's name


def contact_sheet(names: Sequence[str], examples: int = 12, columns: int = 2) -> Image.Image:
    """The first test images of each task, with its name on the left, in so many columns of tasks.

    Raises:
        DataError: an unknown task.
    """
    cell = SIZE * ZOOM + GAP
    width, height = LABEL + examples * cell, cell
    lines = -(-len(names) // columns)
    sheet = Image.new("RGB", (columns * width + GAP, lines * height + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), label_font(13)
    for number, name in enumerate(names):
        left, top = number // lines * width + GAP, number % lines * height + GAP
        draw.text((left + LABEL - 2 * GAP, top + cell // 2 - GAP), name, fill="black", font=font, anchor="rm")
        images, _ = arrays(name, "test", examples)
        for column, image in enumerate(images):
            large = np.kron(image, np.ones((ZOOM, ZOOM, 1), dtype=np.uint8))
            sheet.paste(Image.fromarray(large), (left + LABEL + column * cell, top))
    return sheet
