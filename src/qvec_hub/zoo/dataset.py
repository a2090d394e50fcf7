"""Tasks as `datasets` datasets."""

from __future__ import annotations

import io
from functools import cache

import datasets
from PIL import Image

from .canvas import SIZE
from .registry import arrays, get_task

__all__ = ["IMAGES", "load_task", "load_task_split", "split_size"]

IMAGES = {"train": 4000, "validation": 500, "test": 1000}  # in each split, unless asked for otherwise


def load_task(
    name: str,
    train: int = IMAGES["train"],
    validation: int = IMAGES["validation"],
    test: int = IMAGES["test"],
    seed: int = 0,
    size: int = SIZE,
) -> datasets.DatasetDict:
    """A task as a dataset with columns ``image`` (RGB) and ``label``; nothing is downloaded.

    The splits share no source sample, photograph region or random stream, and the same arguments
    give the same bytes. Where a task is made of few real samples (the handwritten digits),
    validation and test are smaller than asked for.

    Args:
        name: one of `tasks()`.
        train: images in the train split; likewise `validation` and `test`.
        seed: draws other images of the same task; what belongs to which split does not depend on it.
        size: pixels of an image, height and width; see `arrays`.

    Raises:
        DataError: on an unknown task, a split without an image, a negative seed, or a size that the task cannot be
            drawn at.
    """
    sizes = {"train": train, "validation": validation, "test": test}
    return datasets.DatasetDict({split: load_task_split(name, split, n, seed, size) for split, n in sizes.items()})


@cache
def split_size(name: str, split: str) -> int:
    """Images in a split of `load_task` without sizes: found by drawing them, which takes a moment the first time.

    Raises:
        DataError: on an unknown task or split.
    """
    return len(arrays(name, split, IMAGES.get(split, 1))[1])


def load_task_split(name: str, split: str, n: int | None = None, seed: int = 0, size: int = SIZE) -> datasets.Dataset:
    """One split of a task, the very images that `load_task` gives; `n` of them, by default as many as there.

    Raises:
        DataError: as of `arrays`.
    """
    task = get_task(name)
    images, labels = arrays(name, split, IMAGES.get(split, 1) if n is None else n, seed, size)
    features = datasets.Features(
        {"image": datasets.Image(mode="RGB"), "label": datasets.ClassLabel(names=list(task.classes))}
    )
    columns = {"image": [{"bytes": _png(image), "path": None} for image in images], "label": labels}
    info = datasets.DatasetInfo(description=task.about, features=features)
    return datasets.Dataset.from_dict(columns, features=features, info=info, split=datasets.NamedSplit(split))


def _png(image: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=1)  # type: ignore[arg-type]
    return buffer.getvalue()
