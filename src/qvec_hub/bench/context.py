"""The context of rows: the base and task that each named receiver and donor was trained on.

Tables by base, and the separation of transfers from same-task pairs, need it. It is saved beside the rows as
``context.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, StrictInt, StrictStr, ValidationError

from ..errors import DataError
from ..results.row import COUNT, TEXT, Row
from ..util.atomic import write_text
from ..util.validation import Finite, Stored, findings, validated
from .model_store import FINE_TUNE, ReceiverKind, receiver_label

__all__ = ["CONTEXT_FILE", "UNKNOWN", "Context", "Trained", "parse_context", "read_context"]

CONTEXT_FILE = "context.json"
UNKNOWN = "unknown"  # the base of a receiver that no context records
Similarity = dict[str, dict[str, dict[str, Finite]]]  # base -> task -> task -> cosine


@dataclass(frozen=True)
class Trained(Stored):
    """A base's name, the task that a model or vector was trained on, and the kind of a receiver."""

    LEFT_OUT = ("kind",)  # of a fine-tune

    base: Annotated[StrictStr, TEXT]
    task: Annotated[StrictStr, TEXT]
    kind: ReceiverKind = FINE_TUNE

    @property
    def label(self) -> str:
        """What tells a receiver from others of its base: its task, and its kind unless that is the usual one."""
        return receiver_label(self.task, self.kind)


@dataclass(frozen=True)
class Context(Stored):
    """The context of rows.

    Attributes:
        receivers: by `Row.receiver`.
        donors: by `DonorUse.repo`.
        parameters: number of parameters of each base's backbone.
        similarity: base -> task -> task -> similarity from -1 to 1, see `task_similarity`.
    """

    __pydantic_config__ = ConfigDict(extra="ignore")

    receivers: Mapping[str, Trained] = field(default_factory=dict)
    donors: Mapping[str, Trained] = field(default_factory=dict)
    parameters: Mapping[str, Annotated[StrictInt, COUNT]] = field(default_factory=dict)
    similarity: Similarity = field(default_factory=dict)

    def receiver(self, row: Row) -> Trained:
        """Base and task of a row's receiver; if not recorded, `UNKNOWN` and the dataset's name."""
        return self.receivers.get(row.receiver) or Trained(UNKNOWN, _last(row.dataset))

    def donor_task(self, repo: str) -> str | None:
        """The task a donor was trained on, if recorded."""
        known = self.donors.get(repo)
        return known.task if known else None

    def is_own(self, row: Row, repo: str) -> bool:
        """Whether a donor comes from the receiver's own task: a ceiling, not a transfer.

        A donor without a record counts as the receiver's own if its name contains the task's name as a word.
        """
        task, donor = self.receiver(row).task, self.donor_task(repo)
        if donor is not None:
            return donor == task
        words = f"-{_last(repo)}-".lower().replace("_", "-")
        return f"-{task.lower().replace('_', '-')}-" in words

    def __or__(self, other: Context) -> Context:
        """Join two contexts; `other` wins where they differ."""
        return Context(
            {**self.receivers, **other.receivers},
            {**self.donors, **other.donors},
            {**self.parameters, **other.parameters},
            {**self.similarity, **other.similarity},
        )

    def of(self, rows: Iterable[Row]) -> Context:
        """The part of the context that these rows need."""
        rows = list(rows)
        named = {row.receiver for row in rows} | {donor.repo for row in rows for donor in row.donors}
        receivers, donors = ({n: k for n, k in each.items() if n in named} for each in (self.receivers, self.donors))
        bases = {known.base for known in (*receivers.values(), *donors.values())}
        parameters = {base: count for base, count in self.parameters.items() if base in bases}
        similarity = {base: table for base, table in self.similarity.items() if base in bases}
        return Context(receivers, donors, parameters, similarity)

    def to_dict(self) -> dict[str, Any]:
        """The context as JSON values, see `parse_context`; the usual kind is left out, which older versions refuse."""
        values = asdict(self)
        for known in (*values["receivers"].values(), *values["donors"].values()):
            if known["kind"] == FINE_TUNE:
                del known["kind"]
        return values

    def write(self, folder: str | Path) -> None:
        """Write ``context.json`` into a folder, whole or not at all."""
        write_text(Path(folder, CONTEXT_FILE), json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n")


def read_context(paths: Iterable[str | Path]) -> Context:
    """Read and join the contexts beside files of rows (or in their folders); empty if there are none.

    Raises:
        DataError: when a ``context.json`` cannot be read.
    """
    joined = Context()
    folders = dict.fromkeys(path if path.is_dir() else path.parent for path in map(Path, paths))
    for folder in folders:
        if (folder / CONTEXT_FILE).is_file():
            joined |= _read(folder / CONTEXT_FILE)
    return joined


def parse_context(values: Any) -> Context:
    """Build a context from parsed JSON.

    Raises:
        DataError: when a key is missing or has the wrong type; the message names it.
    """
    try:
        context, unknown = validated(Context, values)
    except ValidationError as error:
        raise DataError(str(findings(error)[0])) from None
    if unknown:
        raise DataError(f"{unknown[0]}: expected a base, a task and a kind alone, found this key; remove it")
    return context


def _read(path: Path) -> Context:
    try:
        return parse_context(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, DataError) as error:
        raise DataError(
            f"{path}: expected the context that `qvec bench run` wrote, found something else ({error}); remove the "
            "file to report on the rows alone"
        ) from error


def _last(name: Any) -> str:
    """``org/eurosat``, ``zoo:eurosat`` and ``zoo:eurosat@70`` are called ``eurosat``."""
    return str(name).replace(":", "/").rstrip("/").rpartition("/")[2].partition("@")[0]
