"""Drawing many small images at once: numpy arrays in [0, 1], the batch always first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

__all__ = [
    "FINE",
    "SIZE",
    "balanced",
    "blur_noise",
    "chunks",
    "colour_pairs",
    "coloured",
    "coordinates",
    "finish",
    "paint",
    "shrink",
    "warp",
    "warp_fine",
]

SIZE = 24  # pixels of a finished image, height and width
FINE = 2 * SIZE  # shapes are drawn at twice that and averaged, which smooths their edges

Floats = NDArray[np.float32]
Array = NDArray[np.floating]


def balanced(n: int, classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Shuffled labels ``(n,)`` in which class counts differ by at most one."""
    return rng.permutation(np.arange(n, dtype=np.int64) % classes)


def chunks(n: int, size: int = 512) -> Iterator[slice]:
    """Slices of at most `size`: bounds the memory of drawing at `FINE` resolution and stays in cache."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def coordinates(angle: Array, scale: Array, shift: Array, size: int = FINE) -> tuple[Floats, Floats]:
    """Each pixel's position in a frame that is turned, scaled and moved per image.

    Args:
        angle: radians, ``(n,)``.
        scale: half the frame's width as a share of half the image's, ``(n,)``.
        shift: the frame's centre, in half image widths, ``(n, 2)``.

    Returns:
        x and y, each ``(n, size, size)``; inside the frame both are in -1 … 1.
    """
    axis = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
    centre = shift.astype(np.float32)
    x = axis[None, None, :] - centre[:, 0, None, None]  # (n, 1, size)
    y = axis[None, :, None] - centre[:, 1, None, None]  # (n, size, 1)
    cos = (np.cos(angle) / scale).astype(np.float32)[:, None, None]
    sin = (np.sin(angle) / scale).astype(np.float32)[:, None, None]
    return cos * x + sin * y, cos * y - sin * x


def warp(masks: Floats, angle: Array, scale: Array, shift: Array, size: int = FINE) -> Floats:
    """Masks ``(n, h, w)`` placed in images ``(n, size, size)`` as `coordinates` says; zero outside."""
    x, y = coordinates(angle, scale, shift, size)
    grid = torch.from_numpy(np.stack([x, y], axis=-1))
    source = torch.from_numpy(np.ascontiguousarray(masks, dtype=np.float32))[:, None]
    return F.grid_sample(source, grid, mode="bilinear", align_corners=False)[:, 0].numpy()


def shrink(fine: Floats) -> Floats:
    """(n, FINE, FINE) -> (n, SIZE, SIZE) by averaging 2×2 pixels."""
    return fine.reshape(len(fine), SIZE, 2, SIZE, 2).mean(axis=(2, 4), dtype=np.float32)


def colour_pairs(rng: np.random.Generator, n: int, contrast: float = 0.35) -> tuple[Floats, Floats]:
    """Foreground and background colours ``(n, 3)``: the foreground is the lighter, by at least `contrast`.

    Fixing which one is lighter keeps the tasks learnable by a tiny model in a few seconds.
    """
    colours = rng.random((2, n, 3), dtype=np.float32)
    light = colours @ np.array([0.3, 0.59, 0.11], dtype=np.float32)  # (2, n) luminance
    lighter = light.argmax(axis=0)
    front, back = colours[lighter, np.arange(n)], colours[1 - lighter, np.arange(n)]
    missing = np.maximum(contrast - np.abs(light[0] - light[1]), 0)[:, None] / 2
    return np.minimum(front + missing, 1), np.maximum(back - missing, 0)


def paint(mask: Floats, front: Floats, back: Floats) -> Floats:
    """Masks ``(n, h, w)`` in colour: ``(n, h, w, 3)``, `front` where the mask is 1."""
    return back[:, None, None, :] + mask[..., None] * (front - back)[:, None, None, :]


def blur_noise(rng: np.random.Generator, n: int, cells: int = 6) -> Floats:
    """Smooth random fields ``(n, SIZE, SIZE)`` of about unit variance: noise on a coarse grid, interpolated."""
    coarse = torch.from_numpy(rng.standard_normal((n, 1, cells, cells), dtype=np.float32))
    field = F.interpolate(coarse, size=(SIZE, SIZE), mode="bicubic", align_corners=False)
    return field[:, 0].numpy()


def finish(images: Array, rng: np.random.Generator, noise: float = 0.05, clutter: float = 0.0) -> NDArray[np.uint8]:
    """Images ``(n, SIZE, SIZE, 3)`` with pixel noise and smooth clutter of those standard deviations, as bytes."""
    n = len(images)
    if clutter:
        images = images + clutter * blur_noise(rng, n)[..., None]
    if noise:
        images = images + noise * rng.standard_normal(images.shape, dtype=np.float32)
    return (np.clip(images, 0, 1) * 255 + 0.5).astype(np.uint8)


def coloured(
    masks: Floats, rng: np.random.Generator, noise: float, clutter: float = 0.0, contrast: float = 0.35
) -> NDArray[np.uint8]:
    """Masks ``(n, SIZE, SIZE)`` as images of two random colours each; see `colour_pairs` and `finish`."""
    front, back = colour_pairs(rng, len(masks), contrast)
    return finish(paint(masks, front, back), rng, noise, clutter)


def warp_fine(masks: Floats, chosen: tuple[NDArray[np.int64], ...], angle: Array, scale: Array, shift: Array) -> Floats:
    """The chosen ones of many masks, placed as by `warp` at `FINE` resolution, then shrunk: ``(n, SIZE, SIZE)``.

    Args:
        chosen: indices into the first dimensions of `masks`, ``(n,)`` each.
    """
    placed = np.empty((len(angle), SIZE, SIZE), dtype=np.float32)
    for part in chunks(len(angle)):
        own = masks[tuple(index[part] for index in chosen)]
        placed[part] = shrink(warp(own, angle[part], scale[part], shift[part]))
    return placed
