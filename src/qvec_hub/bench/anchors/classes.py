"""The classes of a dataset and of a head whose outputs have no names, as those of ImageNet-1k on the Hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import PreTrainedConfig

from ...data.classes import class_names, model_ids, model_names
from ...data.names import are_placeholders, some
from ...errors import DataError

__all__ = ["check_classes", "name_outputs_"]

CLASSES = 1000
ALIKE = 950  # of the classes' names: several lists of English names are in use, which differ in some
SYNSET = re.compile(r"n\d{8}")


def name_outputs_(config: PreTrainedConfig, images: Dataset) -> None:
    """Give the outputs of an ImageNet-1k head names, in the vocabulary of a dataset, so that classes are matched.

    Without names the dataset's ids would be taken for the head's, also where its classes stand in another order. Heads
    with names of their own, or with another number of outputs, stay as they are.

    Args:
        config: of the model; ``id2label`` and ``label2id`` are changed.

    Raises:
        DataError: when the dataset's classes are not those of ImageNet-1k.
    """
    own = model_names(config.id2label, config.num_labels or 0, config.label2id)
    names = class_names(images)
    if config.num_labels != CLASSES or names is None or not (own is None or are_placeholders(own)):
        return
    shared = _names_for(names)
    config.id2label = dict(enumerate(shared))
    config.label2id = {name: label for label, name in enumerate(shared)}


def check_classes(config: PreTrainedConfig, images: Dataset, where: str) -> None:
    """Refuse images whose classes a head does not have; names its outputs as `name_outputs_` does.

    Args:
        where: the model, for messages.

    Raises:
        DataError: see above; the message says what was expected and found.
    """
    labels = np.asarray(images.with_format("numpy")["label"][:])
    try:
        name_outputs_(config, images)
        model_ids(labels, class_names(images), config.num_labels or 0, config.id2label, config.label2id)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _names_for(names: Sequence[str]) -> list[str]:
    """Names of the 1,000 outputs, spelled as the dataset spells them.

    Raises:
        DataError: when they are the names of other classes, or of the same in another order.
    """
    synsets, lemmas = imagenet_classes()
    if all(SYNSET.fullmatch(name) for name in names):
        return synsets
    if len(names) != CLASSES:
        return lemmas
    other = [place for place, name in enumerate(names) if not _same(name, lemmas[place])]
    if CLASSES - len(other) < ALIKE:
        found = "; ".join(f"{names[place]!r} as class {place}, which is {lemmas[place]!r}" for place in other[:3])
        raise DataError(
            f"dataset: expected the classes of ImageNet-1k in the order of their synsets, found {len(other)} of "
            f"{CLASSES} others ({found}); name the folders by their synsets ({some(synsets[:2])})"
        )
    return list(names)


def _same(name: str, lemmas: str) -> bool:
    """Whether a name is one of a class's own: ``"Tinca tinca"`` of ``"tench, Tinca tinca"``, without case."""

    def words(text: str) -> set[str]:
        return {re.sub(r"[\s_-]+", " ", part).strip().casefold() for part in text.split(",")}

    return bool(words(name) & words(lemmas))


@cache
def imagenet_classes() -> tuple[list[str], list[str]]:
    """The synsets of ImageNet-1k in the order of a head's outputs, and their names in English (timm's lists)."""
    lines = Path(__file__).with_name("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    synsets, lemmas = zip(*(line.split("\t") for line in lines), strict=True)
    return list(synsets), list(lemmas)
