"""Match the class ids of a dataset with those of a model's head."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset

from ..errors import DataError
from .names import are_numbers, are_placeholders, match, some

__all__ = ["check_range", "class_names", "class_order", "model_ids", "model_names"]

RESOLVE = (
    "name the classes of the dataset as in the model's id2label, or set the model's id2label (config.json) to the "
    "names of its outputs, in their order"
)


def class_names(dataset: Dataset) -> list[str] | None:
    """Class names by id; None if the dataset's labels are bare integers."""
    feature = dataset.features["label"]
    return list(feature.names) if isinstance(feature, ClassLabel) and feature.names else None


def model_ids(
    labels: np.ndarray,
    names: Sequence[str] | None,
    num_labels: int,
    id2label: Mapping[Any, str] | None = None,
    label2id: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Turn the label ids of a dataset into those of a model's head.

    If dataset and model both name their classes, these are matched by name (see `names.match`); the dataset may lack
    some of the model's. If one has only placeholders (``LABEL_0``, or ``0`` for output 0), ids are taken to agree.

    Args:
        labels: integers ``(n,)``.
        names: class names of the dataset by id; None if its labels are bare integers.
        num_labels: number of outputs of the model's head.
        id2label: ``model.config.id2label``; keys may be integers or their text.
        label2id: ``model.config.label2id``, which must not contradict it.

    Returns:
        Integers ``(n,)``.

    Raises:
        DataError: when the number of classes differs, labels are outside the head, names cannot be matched, or names
            are numbers in text order while the model has placeholders.
    """
    if names is None:
        labels = _bare_numbers(labels, num_labels, id2label)
        check_range(labels, num_labels)
        return labels
    order = class_order(names, num_labels, id2label, label2id)
    check_range(labels, len(names))
    return labels if order is None else order[labels]


def class_order(
    names: Sequence[str] | None,
    num_labels: int,
    id2label: Mapping[Any, str] | None = None,
    label2id: Mapping[str, Any] | None = None,
) -> np.ndarray | None:
    """For each of the dataset's classes the model's id, ``(len(names),)``; None if ids agree.

    Raises:
        DataError: as `model_ids`.
    """
    if names is None:
        return None
    theirs = model_names(id2label, num_labels, label2id)
    found = None if theirs is None else match(names, theirs)
    if found is not None:
        return None if found == list(range(num_labels)) else np.array(found)
    if theirs is None or are_placeholders(theirs) or len(names) > num_labels:
        _check_ids_agree(names, num_labels, theirs)
        return None
    if are_placeholders(names) and len(names) == num_labels:
        return None
    raise DataError(_unmatched(names, theirs))


def check_range(labels: np.ndarray, num_labels: int) -> None:
    """Raise DataError for labels ``(n,)`` that a head of `num_labels` outputs cannot predict."""
    outside = labels[(labels < 0) | (labels >= num_labels)]
    if outside.size:
        from_one = labels.min() == 1 and labels.max() == num_labels
        raise DataError(
            f"dataset: expected labels from 0 to {num_labels - 1}, the outputs of the model's head, "
            f"found {int(outside[0])}; "
            + ("count the labels from 0, not from 1" if from_one else "choose the dataset the model was fine-tuned for")
        )


def _check_ids_agree(names: Sequence[str], num_labels: int, theirs: Sequence[str] | None) -> None:
    """Where the model's outputs have no names, ids are taken to agree; refuse what cannot mean that."""
    if len(names) != num_labels:
        raise DataError(
            f"dataset: expected the {num_labels} classes of the model's head, found {len(names)} "
            f"({some(names)}); choose the dataset the model was fine-tuned for"
        )
    numbers = are_numbers(names)
    if numbers is None:
        return
    if numbers != sorted(numbers):
        raise DataError(
            f"dataset: expected classes in an order that the model knows, found numbers sorted as text ({some(names)}) "
            "for a model whose outputs have no names: it may count them as numbers or as text; set the model's "
            "id2label (config.json) to the names of its outputs, in their order"
        )
    if theirs is not None and are_numbers(theirs):
        raise DataError(_unmatched(names, theirs))


def _unmatched(names: Sequence[str], theirs: Sequence[str]) -> str:
    known, unknown = set(theirs), [name for name in names if name not in theirs]
    moved = [name for name, other in zip(names, theirs, strict=False) if name != other and name in known]
    if moved:
        return (
            f"dataset: expected the model's classes in the model's order, found {some(moved)} under other ids "
            f"and names the model does not know ({some(unknown)}); {RESOLVE}"
        )
    missing = [name for name in theirs if name not in set(names)]
    return (
        f"dataset: expected the model's classes ({some(missing or list(theirs))}), found "
        f"{some(unknown or list(names))}, which cannot be matched with them by name; {RESOLVE}"
    )


def model_names(
    id2label: Mapping[Any, str] | None, num_labels: int, label2id: Mapping[str, Any] | None = None
) -> list[str] | None:
    """Names of a model's outputs in their order; None if it has none.

    Raises:
        DataError: when names are given for other ids, or `label2id` contradicts them.
    """
    if not id2label:
        return None
    try:
        by_id = {int(key): str(value) for key, value in dict(id2label).items()}
    except (TypeError, ValueError) as error:
        raise DataError(f"model: expected ids as the keys of id2label, found {some(list(id2label))}") from error
    if sorted(by_id) != list(range(num_labels)) or len(by_id) != len(id2label):
        if are_placeholders(list(by_id.values())):
            return None
        raise DataError(
            f"model: expected a name for each output from 0 to {num_labels - 1} in id2label, found names for "
            f"{', '.join(map(str, list(id2label)[:8]))}; correct config.json"
        )
    names = [by_id[place] for place in range(num_labels)]
    counts = Counter(names)
    for name, said in (label2id or {}).items():
        if counts[name] == 1 and str(said) != str(names.index(name)):
            raise DataError(
                f"model: expected id2label and label2id to agree, found output {names.index(name)} called {name!r} by "
                f"the one and {name!r} the output {said} by the other; correct config.json"
            )
    return names


def _bare_numbers(labels: np.ndarray, num_labels: int, id2label: Mapping[Any, str] | None) -> np.ndarray:
    """Labels without names: ids, or, for a model whose names are numbers in another order, perhaps those names."""
    try:
        theirs = model_names(id2label, num_labels) or []
    except DataError:
        return labels
    numbers = are_numbers(theirs) or []
    if numbers == list(range(len(numbers))) or len(set(numbers)) != len(numbers):
        return labels
    found = set(np.unique(labels).tolist())
    if not found <= set(numbers):
        return labels
    if found <= set(range(num_labels)):
        raise DataError(
            f"dataset: expected labels that can only be ids or only be names, found whole numbers, and a model whose "
            f"outputs are called {some(theirs)}; give the dataset class names (datasets.ClassLabel), or set the "
            "model's id2label to other names"
        )
    places = {number: place for place, number in enumerate(numbers)}
    return np.array([places[label] for label in labels.tolist()], dtype=np.int64)
