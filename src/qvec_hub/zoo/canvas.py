"""Drawing many images at once: numpy arrays in [0, 1], the batch always first.

Positions and lengths are in shares of the image, so a drawing has the same layout at every size. Shapes are drawn at
twice the size (`fine`) and averaged (`shrink`), which smooths their edges.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

__all__ = [
    "LARGEST",
    "SIZE",
    "balanced",
    "blur_noise",
    "by_class",
    "chunks",
    "colour_pairs",
    "coloured",
    "coordinates",
    "fine",
    "finish",
    "paint",
    "shrink",
    "warp",
    "warp_fine",
]

SIZE, LARGEST = 24, 224  # pixels of an image, height and width: unless asked for otherwise, and at most

Floats = NDArray[np.float32]
Array = NDArray[np.floating]


def balanced(n: int, classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Shuffled labels ``(n,)`` in which class counts differ by at most one."""
    return rng.permutation(np.arange(n, dtype=np.int64) % classes)


def chunks(n: int, size: int, most: int = 512) -> Iterator[slice]:
    """Slices of ``range(n)`` with at most `most` images of 24 pixels, or as many pixels of images of `size`.

    Drawing one slice after another bounds the memory that it takes, and stays in cache.
    """
    step = max(1, most * SIZE**2 // size**2)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def by_class(labels: NDArray[np.int64], size: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each label and the indices of its images, in `chunks`."""
    for label in np.unique(labels).tolist():
        chosen = np.flatnonzero(labels == label)
        yield from ((label, chosen[part]) for part in chunks(len(chosen), size))


def coordinates(angle: Array, scale: Array, shift: Array, size: int) -> tuple[Floats, Floats]:
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


def fine(angle: Array, scale: Array, shift: Array, size: int) -> tuple[Floats, Floats]:
    """`coordinates` at twice an image's size, ``(n, 2·size, 2·size)`` each: `shrink` takes what is drawn there."""
    return coordinates(angle, scale, shift, 2 * size)


def warp(masks: Floats, angle: Array, scale: Array, shift: Array, size: int) -> Floats:
    """Masks ``(n, h, w)`` placed in images ``(n, size, size)`` as `coordinates` says; zero outside."""
    x, y = coordinates(angle, scale, shift, size)
    grid = torch.from_numpy(np.stack([x, y], axis=-1))
    source = torch.from_numpy(np.ascontiguousarray(masks, dtype=np.float32))[:, None]
    return F.grid_sample(source, grid, mode="bilinear", align_corners=False)[:, 0].numpy()


def shrink(drawn: Floats) -> Floats:
    """(n, 2·size, 2·size) -> (n, size, size) by averaging 2×2 pixels."""
    size = drawn.shape[1] // 2
    return drawn.reshape(len(drawn), size, 2, size, 2).mean(axis=(2, 4), dtype=np.float32)


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


def blur_noise(rng: np.random.Generator, n: int, size: int, cells: int = 6) -> Floats:
    """Smooth random fields ``(n, size, size)`` of about unit variance: noise on a coarse grid, interpolated."""
    return _smooth(rng.standard_normal((n, 1, cells, cells), dtype=np.float32), size)


def finish(images: Array, rng: np.random.Generator, noise: float = 0.05, clutter: float = 0.0) -> NDArray[np.uint8]:
    """Images ``(n, size, size, 3)`` with pixel noise and smooth clutter of those standard deviations, as bytes.

    Clutter is as coarse at every size; noise is that of a camera, each pixel on its own.
    """
    n, size = images.shape[:2]
    coarse = rng.standard_normal((n, 1, 6, 6), dtype=np.float32) if clutter else None
    finished = np.empty(images.shape, dtype=np.uint8)
    for part in chunks(n, size):
        piece = images[part]
        if coarse is not None:
            piece = piece + clutter * _smooth(coarse[part], size)[..., None]
        if noise:
            piece = piece + noise * rng.standard_normal(piece.shape, dtype=np.float32)
        finished[part] = np.clip(piece, 0, 1) * 255 + 0.5
    return finished


def _smooth(coarse: Floats, size: int) -> Floats:
    """Grids ``(n, 1, cells, cells)`` interpolated: ``(n, size, size)``."""
    field = F.interpolate(torch.from_numpy(coarse), size=(size, size), mode="bicubic", align_corners=False)
    return field[:, 0].numpy()


def coloured(
    masks: Floats, rng: np.random.Generator, noise: float, clutter: float = 0.0, contrast: float = 0.35
) -> NDArray[np.uint8]:
    """Masks ``(n, size, size)`` as images of two random colours each; see `colour_pairs` and `finish`."""
    front, back = colour_pairs(rng, len(masks), contrast)
    return finish(paint(masks, front, back), rng, noise, clutter)


def warp_fine(
    masks: Floats, chosen: tuple[NDArray[np.int64], ...], angle: Array, scale: Array, shift: Array, size: int
) -> Floats:
    """The chosen ones of many masks, placed as by `warp` at twice the size, then shrunk: ``(n, size, size)``.

    Args:
        chosen: indices into the first dimensions of `masks`, ``(n,)`` each.
    """
    placed = np.empty((len(angle), size, size), dtype=np.float32)
    for part in chunks(len(angle), size):
        own = masks[tuple(index[part] for index in chosen)]
        placed[part] = shrink(warp(own, angle[part], scale[part], shift[part], 2 * size))
    return placed
