"""Checks of a row's dataset: it is public, and its split has as many images as the row states.

Datasets of the zoo are known here; the Hub is asked once for each dataset and revision. No dataset is downloaded, and
nothing of it is executed: the number of images in a split is read from the dataset's card, if it is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from ...errors import DataError, HubError
from ...hub.cards.front_matter import hub_id
from ...hub.cards.values import as_count, short_text
from ...hub.transfer.ask import get_json
from ...results.row import Row
from ...util.untrusted import printable
from ...zoo.dataset import split_size
from ...zoo.registry import SPLITS, ZOO, parse_dataset, tasks

__all__ = ["Datasets"]

MAX_ASKED = 500  # datasets and revisions; untrusted rows can name any number
MAX_FAILED = 3  # requests that failed, after which no more are sent
_COMMIT = re.compile("[0-9a-f]{40}")
_VERSION = re.compile(r"\d+(\.\w+){1,4}", re.ASCII)


class _Known(NamedTuple):
    """What the Hub tells about a dataset at a commit: numbers of images by split, of each of its configurations."""

    sizes: Mapping[str, set[int]]
    refusal: str | None = None
    unchecked: str | None = None


class Datasets:
    """Checks rows against their datasets.

    Attributes:
        unchecked: dataset and split -> why it could not be checked.
    """

    def __init__(self, token: str | bool | None = None) -> None:
        self.token = token
        self.unchecked: dict[str, str] = {}
        self._known: dict[tuple[str, str], _Known] = {}
        self._failed = 0

    def refusal(self, row: Row) -> str | None:
        """Why a row must be wrong; None if nothing was found, or the dataset could not be checked."""
        if row.dataset.startswith(ZOO):
            return _refuse_zoo(row)
        if not hub_id(row.dataset):
            return f"dataset: expected zoo:NAME or a Hub id, which others can look at, found {_said(row.dataset)}"
        if row.dataset_revision is None or not _COMMIT.fullmatch(row.dataset_revision):
            return (
                f"dataset_revision: expected the commit of {row.dataset}, 40 hex digits, found "
                f"{_said(row.dataset_revision)}; a branch moves, so measure again at a commit"
            )
        known = self._look_up(row.dataset, row.dataset_revision)
        if known.refusal:
            return known.refusal
        sizes = known.sizes.get(row.split)
        if sizes is None:
            why = known.unchecked or "its card does not say how many images the split has"
            self.unchecked.setdefault(f"{row.dataset}@{row.dataset_revision[:12]} {printable(row.split, 60)}", why)
        elif row.n not in sizes:
            wanted = " or ".join(map(str, sorted(sizes)))
            return f"n: expected {wanted}, the images in split {row.split} of {row.dataset}, found {row.n}"
        return None

    def _look_up(self, dataset: str, revision: str) -> _Known:
        key = dataset, revision
        if key not in self._known:
            if len(self._known) >= MAX_ASKED or self._failed >= MAX_FAILED:
                return _Known({}, unchecked="the Hub was not asked: too many questions, or too many without an answer")
            self._known[key] = self._ask(dataset, revision)
        return self._known[key]

    def _ask(self, dataset: str, revision: str) -> _Known:
        try:
            path = f"datasets/{dataset}/revision/{revision}"
            answer = get_json(dataset, path, {"expand": ["cardData"]}, self.token)
        except HubError as error:
            if isinstance(error.__cause__, RevisionNotFoundError):
                return _Known({}, refusal=f"dataset_revision: {dataset} has no commit {revision}")
            if isinstance(error.__cause__, RepositoryNotFoundError):
                return _Known({}, refusal=f"dataset: the Hub has no {dataset} that anybody may look at")
            self._failed += 1
            return _Known({}, unchecked=printable(error))
        return _Known(_sizes(answer))


def _refuse_zoo(row: Row) -> str | None:
    task = row.dataset.removeprefix(ZOO).partition("@")[0]
    if task not in tasks():
        return f"dataset: the zoo has no task {_said(task)}; if it is new, upgrade qvec_hub"
    try:
        parse_dataset(row.dataset)
    except DataError as error:
        return f"dataset: {printable(error)}"
    if row.dataset_revision is not None and not _VERSION.fullmatch(row.dataset_revision):
        return f"dataset_revision: expected none or a version of the zoo, found {_said(row.dataset_revision)}"
    if row.split not in SPLITS:
        return f"split: expected {', '.join(SPLITS)} of {row.dataset}, found {_said(row.split)}"
    size = split_size(task, row.split)
    if row.n != size:
        return f"n: expected {size}, the images in split {row.split} of {row.dataset}, found {row.n}"
    return None


def _sizes(answer: Any) -> dict[str, set[int]]:
    """Split -> numbers of images in a card's ``dataset_info``; values of the wrong form are ignored."""
    card = answer.get("cardData") if isinstance(answer, Mapping) else None
    info = card.get("dataset_info") if isinstance(card, Mapping) else None
    found: dict[str, set[int]] = {}
    for config in info if isinstance(info, list) else [info]:
        splits = config.get("splits") if isinstance(config, Mapping) else None
        for split in splits if isinstance(splits, list) else ():
            name = short_text(split.get("name")) if isinstance(split, Mapping) else None
            count = as_count(split.get("num_examples")) if name else None
            if name and count is not None:
                found.setdefault(name, set()).add(count)
    return found


def _said(value: str | None) -> str:
    return "none" if value is None else repr(printable(value, 60))
