"""Images without a figure: grain, waves, slopes, cells and fields of colour."""

from __future__ import annotations

from itertools import product

import numpy as np

from .. import canvas

__all__ = ["MOSAICS", "SLOPES", "STRETCHES", "WAVES", "fields", "mosaics", "plaids", "slopes", "specks"]

SLOPES = (0.5, 1.5, 2.5)  # of the amplitude spectrum: fine to coarse grain
STRETCHES = ((1.0, 0.0), (3.0, 0.0), (3.0, np.pi / 4), (3.0, np.pi / 2), (3.0, 3 * np.pi / 4))  # (factor, direction)
WAVES = tuple(product((np.pi / 6, np.pi / 3, np.pi / 2), (2.5, 5.0), ("sum", "product")))  # angle, waves, how joined
# Which of four cells have one colour: all fifteen ways to part them into sets.
MOSAICS = tuple(code for code in product(range(4), repeat=4)
                if all(value <= max(code[:place], default=-1) + 1 for place, value in enumerate(code)))  # fmt: skip
SPECKS = 8


def fields(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise whose spectrum falls with a class's slope and is stretched along a class's direction."""
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
    return _drawn(np.clip(field + 0.5, 0, 1), rng)


def plaids(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two waves that cross at a class's angle, with a class's period, added or multiplied."""
    n = len(labels)
    angle, waves = (np.array([wave[i] for wave in WAVES])[labels] for i in range(2))
    added = np.array([wave[2] == "sum" for wave in WAVES])[labels][:, None, None]
    first = rng.uniform(0, np.pi, n)
    one, other = (
        np.sin(np.pi * waves[:, None, None] * x + rng.uniform(0, 2 * np.pi, n)[:, None, None])
        for x, _ in (
            canvas.coordinates(turn, rng.uniform(0.9, 1.1, n), np.zeros((n, 2)), canvas.SIZE)
            for turn in (first, first + angle + rng.normal(0, 0.05, n))
        )
    )
    return _drawn(np.where(added, 0.5 + (one + other) / 4, 0.5 + one * other / 2), rng)


def slopes(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A ground that grows lighter towards one of eight sides, under clutter."""
    n = len(labels)
    turn = (labels + rng.uniform(-0.3, 0.3, n)) * (np.pi / 4)
    x, _ = canvas.coordinates(turn, np.ones(n), np.zeros((n, 2)), canvas.SIZE)
    clutter = 0.25 * canvas.blur_noise(rng, n, canvas.SIZE, cells=8)
    return _drawn(np.clip(0.5 + rng.uniform(0.2, 0.4, n)[:, None, None] * x + clutter, 0, 1), rng)


def specks(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Squares of random grey, from one pixel a side to a third of the image: how large?"""
    n = len(labels)
    image = np.empty((n, canvas.SIZE, canvas.SIZE), dtype=np.float32)
    for label in range(SPECKS):
        chosen = np.flatnonzero(labels == label)
        cells = canvas.SIZE // (label + 1) + 2
        coarse = rng.random((len(chosen), cells, cells), dtype=np.float32)
        whole = coarse.repeat(label + 1, axis=1).repeat(label + 1, axis=2)
        image[chosen] = whole[:, : canvas.SIZE, : canvas.SIZE]
    return _drawn(image, rng)


def mosaics(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Four cells in up to four colours: which of them match?"""
    n = len(labels)
    colours = rng.random((n, 4, 3), dtype=np.float32)
    x, y = canvas.coordinates(rng.uniform(-0.2, 0.2, n), np.ones(n), rng.uniform(-0.25, 0.25, (n, 2)), canvas.SIZE)
    cell = ((x > 0) + 2 * (y > 0)).reshape(n, -1)
    kind = np.take_along_axis(np.array(MOSAICS)[labels], cell, axis=1)
    images = np.take_along_axis(colours, kind[..., None], axis=1).reshape(n, canvas.SIZE, canvas.SIZE, 3)
    return canvas.finish(images, rng, noise=0.05, clutter=0.04)


def _drawn(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return canvas.coloured(mask.astype(np.float32), rng, noise=0.04)
