"""The zoo's tasks: small registered functions that draw images and labels."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..util.scalars import integer_in
from .canvas import LARGEST, SIZE
from .photos import largest_size

__all__ = [
    "SPLITS",
    "ZOO",
    "Batch",
    "Draw",
    "Task",
    "arrays",
    "check_size",
    "dataset_name",
    "get_task",
    "parse_dataset",
    "task",
    "tasks",
]

ZOO = "zoo:"  # before the name of a task wherever a dataset is expected

SPLITS = ("train", "validation", "test")

Images = NDArray[np.uint8]  # (n, size, size, 3)
Labels = NDArray[np.int64]  # (n,)
Batch = tuple[Images, Labels]
Draw = Callable[[str, int, np.random.Generator, int], Batch]  # (split, n, random stream of that split, size)


@dataclass(frozen=True)
class Task:
    """An image classification task.

    Attributes:
        name: as passed to `load_task`.
        classes: label names, in label order.
        about: one line for people.
        draw: draws up to ``n`` images ``(m, size, size, 3)`` uint8 of a split and their labels ``(m,)``; fewer than
            ``n`` only where real samples run out.
        photographs: files that images are cut from, which bounds their size.
    """

    name: str
    classes: tuple[str, ...]
    about: str
    draw: Draw
    photographs: tuple[str, ...] = ()

    @property
    def largest(self) -> int:
        """Pixels of the largest image that can be drawn, height and width."""
        return largest_size(self.photographs) if self.photographs else LARGEST


_TASKS: dict[str, Task] = {}


def task(name: str, classes: tuple[str, ...], about: str, photographs: tuple[str, ...] = ()) -> Callable[[Draw], Draw]:
    """Register the decorated function, which draws images and labels, as a task of the zoo; see `Task`.

    Raises:
        ValueError: when there is a task of that name; this is a programming error.
    """

    def register(draw: Draw) -> Draw:
        if name in _TASKS:
            raise ValueError(f"zoo: a task named {name!r} is registered twice")
        _TASKS[name] = Task(name, classes, about, draw, photographs)
        return draw

    return register


def tasks() -> tuple[str, ...]:
    """Names of all tasks, in a stable order."""
    return tuple(_TASKS)


def get_task(name: str) -> Task:
    """The task of that name.

    Raises:
        DataError: when there is none.
    """
    if name not in _TASKS:
        raise DataError(f"zoo: no task named {name!r}; known tasks are {', '.join(_TASKS)}")
    return _TASKS[name]


def check_size(name: str, size: int) -> None:
    """Refuse a size that a task cannot be drawn at.

    Raises:
        DataError: naming the task, the sizes that there are, and the one asked for.
    """
    largest = LARGEST if size == SIZE else get_task(name).largest
    pixels = integer_in(size)
    if pixels is None or not SIZE <= pixels <= largest:
        why = ", because its photographs have no more pixels" if largest < LARGEST else ""
        raise DataError(f"zoo: task {name!r}: expected a size from {SIZE} to {largest} pixels{why}, found {size}")


def dataset_name(name: str, size: int = SIZE) -> str:
    """``zoo:shapes``, or at another size than 24 pixels ``zoo:shapes@70``: what a task is called as a dataset."""
    return f"{ZOO}{name}" if size == SIZE else f"{ZOO}{name}@{size}"


def parse_dataset(dataset: str) -> tuple[str, int]:
    """The task and the size that `dataset_name` wrote.

    Raises:
        DataError: on an unknown task, or a size that it cannot be drawn at.
    """
    name, at, size = dataset.removeprefix(ZOO).partition("@")
    get_task(name)
    if at and not re.fullmatch("[1-9][0-9]{0,3}", size):
        raise DataError(f"zoo: task {name!r}: expected a size in pixels behind '@', such as @70, found {size!r}")
    pixels = int(size) if at else SIZE
    check_size(name, pixels)
    return name, pixels


def arrays(name: str, split: str, n: int, seed: int = 0, size: int = SIZE) -> Batch:
    """Images ``(m, size, size, 3)`` uint8 and labels ``(m,)`` of one split, shuffled; the same bytes every time.

    Every (task, split, seed) has a random stream of its own, so the size of one split does not change another.
    ``m`` is ``n``, or less where a task has fewer real samples than that. Images are drawn at their size, not
    enlarged: shapes and letters have sharp edges, and a photograph's patch shows as many of its pixels or more. Only
    the handwritten digits, scans of 8×8 pixels, are interpolated.

    Raises:
        DataError: on an unknown task or split, fewer than 1 image, a negative seed, or a size that the task cannot be
            drawn at.
    """
    chosen = get_task(name)
    if split not in SPLITS:
        raise DataError(f"zoo: task {name!r} has no split {split!r}; splits are {', '.join(SPLITS)}")
    if n < 1:
        raise DataError(f"zoo: task {name!r}: expected at least 1 image in split {split!r}, found {n}")
    if seed < 0:
        raise DataError(f"zoo: task {name!r}: expected a seed of 0 or more, found {seed}")
    check_size(name, size)
    stream = np.random.default_rng([zlib.crc32(name.encode()), SPLITS.index(split), seed])
    return chosen.draw(split, n, stream, size)
