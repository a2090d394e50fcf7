"""Drawings: strokes, characters and patterns on a plain ground, as in scans, signs and diagrams."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

__all__ = ["drawing", "pattern"]

CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789&%?!#+=<>"
FINE = 4  # factor by which drawings are larger before they are averaged down, for soft edges


def drawing(size: tuple[int, int], rng: np.random.Generator, index: int = 0) -> NDArray[np.float32]:
    """A few lines, curves, polygons or characters in one or two colours: ``(height, width, 3)`` in [0, 1]."""
    height, width = size
    fine = FINE if min(size) < 128 else 1
    ground, *inks = _colours(rng)
    canvas = Image.new("RGB", (width * fine, height * fine), ground)
    pen = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(1, 7))):
        _draw(pen, canvas.size, inks[int(rng.integers(len(inks)))], rng)
    if rng.random() < 0.3:
        canvas = canvas.filter(ImageFilter.GaussianBlur(fine * rng.uniform(0.3, 1.5) * min(size) / 64))
    small = canvas if fine == 1 else canvas.resize((width, height), Image.Resampling.BOX)
    image = np.asarray(small, dtype=np.float32) * np.float32(1 / 255)
    if rng.random() < 0.5:
        image = image + rng.normal(0, rng.uniform(0, 0.1), image.shape).astype(np.float32)
    return image


def pattern(size: tuple[int, int], rng: np.random.Generator, index: int = 0) -> NDArray[np.float32]:
    """Stripes, checks or waves of one direction and period, between two colours: ``(height, width, 3)`` in [0, 1]."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), min(size) * np.exp(rng.uniform(np.log(0.08), np.log(1)))
    along = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + rng.uniform(0, 2 * np.pi))
    across = np.sin(2 * np.pi * (y * np.cos(angle) - x * np.sin(angle)) / period + rng.uniform(0, 2 * np.pi))
    wave = (along, along * across, (along + across) / 2)[int(rng.integers(3))]
    if rng.random() < 0.5:
        wave = np.clip(wave * 4, -1, 1)
    share = (0.5 + 0.5 * rng.uniform(0.2, 1) * wave)[..., None]
    first, second = (np.array(colour, dtype=np.float32) / 255 for colour in _colours(rng)[:2])
    image = first * (1 - share) + second * share
    return (image + rng.normal(0, rng.uniform(0, 0.15), image.shape)).astype(np.float32)


def _draw(pen: ImageDraw.ImageDraw, size: tuple[int, int], ink: tuple[int, ...], rng: np.random.Generator) -> None:
    short = min(size)
    thick = max(1, round(short * np.exp(rng.uniform(np.log(0.01), np.log(0.12)))))
    centre, reach = rng.uniform(0.1, 0.9, 2) * size, short * rng.uniform(0.1, 0.5)
    points = [tuple(map(float, centre + rng.uniform(-reach, reach, 2))) for _ in range(int(rng.integers(2, 6)))]
    kind = rng.random()
    if kind < 0.35:
        letter = CHARACTERS[int(rng.integers(len(CHARACTERS)))]
        height = max(6, int(short * rng.uniform(0.2, 0.9)))
        left, top = map(float, centre - height / 3)
        font = ImageFont.load_default(height)
        pen.text((left, top), letter, fill=ink, font=font, stroke_width=int(rng.integers(2)))
    elif kind < 0.6:
        pen.line(points, fill=ink, width=thick, joint="curve")
    elif kind < 0.8:
        start, sweep = rng.uniform(0, 360), rng.uniform(60, 360)
        box = (*map(float, centre - reach), *map(float, centre + reach))
        pen.arc(box, start, start + sweep, fill=ink, width=thick)
    elif len(points) > 2:
        pen.polygon(points, fill=ink if rng.random() < 0.5 else None, outline=ink, width=thick)


def _colours(rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Ground and two inks; in half of the cases grey."""
    if rng.random() < 0.5:
        levels = rng.integers(0, 256, 3)
        if abs(int(levels[0]) - int(levels[1])) < 60:
            levels[1] = (levels[0] + 128) % 256
        return [(int(level),) * 3 for level in levels]
    return [tuple(map(int, rng.integers(0, 256, 3))) for _ in range(3)]
