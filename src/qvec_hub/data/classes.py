"""Do a dataset and a model's head mean the same by the same label?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset

from ..errors import DataError
from .columns import with_labels

__all__ = ["check_classes", "check_range", "class_names", "class_order", "some"]


def class_names(dataset: Dataset) -> list[str] | None:
    """The class names by id, or None where the dataset has bare integers."""
    feature = dataset.features["label"]
    return list(feature.names) if isinstance(feature, ClassLabel) and feature.names else None


def check_classes(dataset: Dataset, num_labels: int, id2label: Mapping[Any, str] | None = None) -> Dataset:
    """The dataset with its label ids as the model's head counts them.

    Where dataset and model both name their classes and the names are the same in another order, the
    labels are translated. Names that are generic (``LABEL_0``) or that share nothing say nothing: ids
    are then taken to agree.

    Args:
        dataset: as from `load_images`.
        num_labels: the outputs of the model's head.
        id2label: ``model.config.id2label``; keys may be integers or their text.

    Raises:
        DataError: another number of classes, labels outside the head, or some names shared under
            different ids.
    """
    labels = np.asarray(dataset.with_format("numpy")["label"][:])
    names = class_names(dataset)
    order = class_order(names, num_labels, id2label)
    check_range(labels, num_labels)
    if order is None or names is None:
        return dataset
    by_id = [names[i] for i in np.argsort(order)]
    return with_labels(dataset, order[labels], ClassLabel(names=by_id))


def class_order(
    names: Sequence[str] | None, num_labels: int, id2label: Mapping[Any, str] | None = None
) -> np.ndarray | None:
    """The model's id of each of the dataset's classes, ``(num_labels,)``; None where ids agree.

    Raises:
        DataError: see `check_classes`.
    """
    if names is None:
        return None
    if len(names) != num_labels:
        raise DataError(
            f"dataset: expected the {num_labels} classes of the model's head, found {len(names)} "
            f"({some(names)}); choose the dataset the model was fine-tuned for"
        )
    model_names = _meaningful_names(id2label, num_labels)
    if model_names is None:
        return None
    for spelled in (str, _normal):  # as written; then without case, underscores and hyphens
        ours, theirs = [spelled(name) for name in names], [spelled(name) for name in model_names]
        if ours == theirs:
            return None
        if len(set(ours)) == num_labels and set(ours) == set(theirs):
            return np.array([theirs.index(name) for name in ours])
    moved = [name for name, other in zip(ours, theirs, strict=True) if name != other and name in theirs]
    moved = [name for name in moved if not name.isdigit()]  # "1" to "10" against "0" to "9" is no contradiction
    if moved:
        strangers = sorted(set(ours) - set(theirs))
        raise DataError(
            f"dataset: expected the model's classes in the model's order, found {some(moved)} under other ids "
            f"and names the model does not know ({some(strangers)}); "
            "name the classes of the dataset as in the model's id2label"
        )
    return None


def check_range(labels: np.ndarray, num_labels: int) -> None:
    """Refuse labels that a head of `num_labels` outputs cannot predict."""
    outside = labels[(labels < 0) | (labels >= num_labels)]
    if outside.size:
        raise DataError(
            f"dataset: expected labels from 0 to {num_labels - 1}, the outputs of the model's head, "
            f"found {int(outside[0])}; choose the dataset the model was fine-tuned for"
        )


def some(names: Sequence[str], most: int = 8) -> str:
    """The first few names, quoted, for a message."""
    listed = ", ".join(repr(name) for name in names[:most])
    return listed + (", ..." if len(names) > most else "")


def _meaningful_names(id2label: Mapping[Any, str] | None, num_labels: int) -> list[str] | None:
    by_id = {int(key): str(value) for key, value in (id2label or {}).items()}
    if sorted(by_id) != list(range(num_labels)):
        return None
    names = [by_id[i] for i in range(num_labels)]
    return None if all(re.fullmatch(r"LABEL_\d+", name) for name in names) else names


def _normal(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
