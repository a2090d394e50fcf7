"""The labeled images of a donor: loaded, checked, and what they are called."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..data.classes import class_names
from ..data.hub_dataset import dataset_revision
from ..data.images import load_image_splits
from ..errors import DataError

__all__ = ["about_donor", "dataset_name", "donor_images"]


def donor_images(
    dataset: Any,
    train_split: str,
    validation_split: str | None,
    image_column: str | None = None,
    label_column: str | None = None,
) -> tuple[dict[str, Dataset], list[str]]:
    """Load the splits ``"train"`` and, if there is one, ``"validation"``, and the class names by id.

    Args:
        dataset: a source that `qvec_hub.data.images.load_image_splits` takes; the others as for `train_donor`.

    Raises:
        DataError: when the dataset does not load, lacks a split, or its labels cannot be learned from.
    """
    found = load_image_splits(dataset, image_column=image_column, label_column=label_column)
    for wanted in (train_split, validation_split):
        if wanted is not None and wanted not in found:
            raise DataError(
                f"dataset {dataset_name(dataset)}: expected a split '{wanted}' with labels, found "
                f"{', '.join(sorted(found))}; name one of these"
            )
    splits = {"train": found[train_split]}
    measured = validation_split or ("validation" if "validation" in found else None)
    if measured is not None:
        splits["validation"] = found[measured]
    for split, images in splits.items():
        if not len(images):
            raise DataError(f"dataset {dataset_name(dataset)}: expected images in the {split} split, found none")
    labels = {split: list(map(int, images["label"])) for split, images in splits.items()}
    names = class_names(splits["train"])
    classes = names or [str(label) for label in range(1 + max(0, *(max(ids) for ids in labels.values())))]
    _check_labels(dataset_name(dataset), labels, classes, names is not None)
    return splits, classes


def dataset_name(dataset: Any) -> str:
    """What messages call a dataset."""
    return str(dataset) if isinstance(dataset, str | Path) else "(in memory)"


def about_donor(dataset: Any, train: Dataset, task: str | None) -> dict[str, str | None]:
    """What a vector's config says of its donor: the task, by default the last part of the dataset's name, and where
    others find the dataset; a path of this machine means nothing to them."""
    named = isinstance(dataset, str | Path)
    public = isinstance(dataset, str) and not Path(dataset).expanduser().exists()
    return {
        "task": task or (re.split("[/:]", str(dataset).rstrip("/"))[-1] if named else None),
        "dataset": dataset if public else None,
        "dataset_revision": dataset_revision(train),
    }


def _check_labels(name: str, labels: Mapping[str, Sequence[int]], classes: Sequence[str], named: bool) -> None:
    """Refuse labels that nothing can be learned from, and warn of a split that measures what is not learned.

    Args:
        name: of the dataset. labels: by split, ``"train"`` among them. named: whether the classes have names.

    Raises:
        DataError: labels outside the classes, a single class, or more classes than images where they have no names.
    """
    for split, ids in labels.items():
        outside = [(row, label) for row, label in enumerate(ids) if not 0 <= label < len(classes)]
        if outside:
            row, label = outside[0]
            raise DataError(
                f"dataset {name}: expected labels from 0 to {len(classes) - 1} in the {split} split, found {label} in "
                f"row {row}; number the classes from 0, and leave out images without a label"
            )
    trained = set(labels["train"])
    if len(trained) < 2:
        raise DataError(
            f"dataset {name}: expected images of at least two classes in the train split, found only "
            f"{classes[min(trained)]!r}; a classifier learns nothing from one class"
        )
    if not named and len(classes) > max(len(labels["train"]), 2 * len(trained)):
        raise DataError(
            f"dataset {name}: expected labels that count the classes from 0, found {len(trained)} labels up to "
            f"{len(classes) - 1}; number the classes without holes, or name them (ClassLabel)"
        )
    for split, ids in labels.items():
        unseen = [classes[label] for label in sorted(set(ids) - trained)]
        if unseen:
            warnings.warn(
                f"dataset {name}: {len(unseen)} classes of the {split} split have no image in the train split "
                f"({', '.join(unseen[:4])}{', …' if len(unseen) > 4 else ''}), so they are never right",
                stacklevel=2,
            )
