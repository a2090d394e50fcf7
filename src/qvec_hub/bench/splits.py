"""A suite's tasks as datasets: the splits of arXiv 2604.03420, or the zoo's own."""

from __future__ import annotations

from datasets import Dataset

from .. import zoo
from ..data.images import load_image_splits
from ..errors import DataError
from ..evaluation.images import rows_to_take
from .suite import Images, TaskSpec

__all__ = ["load_task_split"]

VALIDATION_SHARE, VALIDATION_MOST, SPLIT_SEED = 0.1, 5000, 0  # the paper's rule where a dataset has no such split


def load_task_split(spec: TaskSpec, split: str, images: Images) -> Dataset:
    """The images of a task's ``train``, ``validation`` or ``test`` split, as many as the suite says.

    Raises:
        DataError: the dataset cannot be read or lacks a split.
    """
    wanted: int | None = getattr(images, split)
    if spec.dataset.startswith(zoo.ZOO):
        task, size = zoo.parse_dataset(spec.dataset)
        return zoo.load_task_split(task, split, wanted, size=size)
    splits = load_image_splits(
        spec.dataset,
        image_column=spec.image_column,
        label_column=spec.label_column,
        config=spec.config,
        revision=spec.revision,
    )
    names = {"train": spec.train_split, "validation": spec.validation_split, "test": spec.test_split}
    name = names[split]
    for needed in {name or spec.train_split}:
        if needed not in splits:
            raise DataError(f"dataset {spec.dataset!r}: expected a split {needed!r}, found {', '.join(splits)}")
    if names["validation"] is None and split != "test":
        whole = splits[spec.train_split]
        held_out = min(int(VALIDATION_SHARE * len(whole)), VALIDATION_MOST)
        parts = whole.train_test_split(test_size=held_out, seed=SPLIT_SEED)
        chosen = parts["test" if split == "validation" else "train"]
    else:
        chosen = splits[name or spec.train_split]
    return chosen.select(rows_to_take(len(chosen), wanted))
