"""Counting rows again from the models they name, as a user would.

If possible, a row is counted with `qvec_hub.from_pretrained` and `qvec_hub.evaluate` instead of the benchmark's own
code: with packed layers, a newly loaded model, and the dataset read again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset

from ..artifact.schema import REPO_ID
from ..errors import DataError, QVecError
from ..evaluation.runner import evaluate
from ..loading.from_pretrained import from_pretrained
from ..results.counts import library_versions
from ..results.row import DonorUse, Row
from ..rounding.registry import PLAIN
from ..vector.vector import QuantizationVector
from ..zoo.registry import ZOO
from .cells import cells, key_of_row
from .context import Context
from .measure import BATCH, Workbench
from .methods import proxied
from .model_store import Library
from .receiver import hash_of
from .splits import load_task_split
from .suite import Images, Suite, TaskSpec
from .vector_cache import revision_of
from .workers import processes

__all__ = ["TOLERANCE", "Check", "count_sample", "verify"]

TOLERANCE = 0.005  # share of the images, with other software or on another device than the row's


@dataclass(frozen=True)
class Check:
    """A row and its second count.

    Attributes:
        correct: number of correct predictions; None if the row could not be counted again.
        why: why it could not be counted or does not reproduce; empty if it reproduces.
    """

    row: Row
    correct: int | None
    why: str = ""

    @property
    def reproduces(self) -> bool | None:
        """Whether the counts agree; None if the row could not be counted again."""
        return None if self.correct is None else not self.why


def verify(
    rows: Sequence[Row],
    sample: int | None = None,
    *,
    seed: int = 0,
    context: Context | None = None,
    library: Library | None = None,
    suite: Suite | None = None,
    done: Callable[[int], None] = lambda n: None,
) -> list[Check]:
    """Count a random sample of rows again.

    Counts must be equal if the software and the device are the row's; otherwise they may differ by the share
    `TOLERANCE` of the images.

    Args:
        sample: number of rows; all by default.
        seed: of the choice of rows.
        context: the base and task of each local model's name. Hub ids need none.
        library: the folder of local models.
        suite: the suite of the rows; calibrated methods, controls and own QAT can be counted again only with it.
        done: called with 1 after each row.

    Returns:
        A check for each row of the sample; rows that cannot be counted again are among them.

    Raises:
        DataError: when there are no rows.
    """
    again = _Again(context or Context(), library, suite)
    return count_sample(rows, sample, seed, again.count, done)


def count_sample(
    rows: Sequence[Row], sample: int | None, seed: int, count: Callable[[Row], int], done: Callable[[int], None]
) -> list[Check]:
    """Draw rows and count each again by `count`; other arguments, result and errors as `verify`."""
    if not rows:
        raise DataError("verify: expected rows, found none")
    drawn = list(rows) if sample is None else random.Random(seed).sample(list(rows), min(sample, len(rows)))
    checks = []
    for row in drawn:
        try:
            correct = count(row)
            checks.append(Check(row, correct, _difference(row, correct)))
        except QVecError as error:
            checks.append(Check(row, None, str(error)))
        done(1)
    return checks


def _difference(row: Row, correct: int) -> str:
    """A message if the two counts differ by more than is allowed, else an empty text."""
    other = {name for name, version in library_versions().items() if row.versions.get(name) != version}
    allowed = TOLERANCE * row.n if other or row.device != _device() else 0
    apart = abs(correct - row.correct)
    if apart <= allowed:
        return ""
    software = f"with another {', '.join(sorted(other))}" if other else "with the same software"
    return f"{correct} of {row.n} instead of {row.correct}, {software}, where {int(allowed)} may differ"


class _Again:
    def __init__(self, context: Context, library: Library | None, suite: Suite | None) -> None:
        self.context, self.library = context, library
        self.cells = {cell.key: cell for cell in cells(suite)} if suite else {}
        self.bench = Workbench(suite, library, torch.device(_device())) if suite and library else None

    def count(self, row: Row) -> int:
        loads = row.method in ("fp", "ptq", "qvec") or proxied(row.method)
        if loads and row.control is None and row.merge in (None, "mean"):
            return self._by_loading(row)
        cell = self.cells.get(key_of_row(row))
        if cell is None or self.bench is None:
            raise QVecError(
                f"{row.method}{f' with control {row.control}' if row.control else ''} is counted again only from the "
                "folder that `qvec bench run` wrote, with its models"
            )
        found = self.bench.count(cell)
        _same(row.receiver, row.receiver_revision, found.receiver_revision)
        return found.correct

    def _by_loading(self, row: Row) -> int:
        source, revision = self._receiver(row)
        scale = 1.0 if row.scale is None else row.scale
        vectors = [self._donor(row, donor) for donor in row.donors] or None
        rounding = proxied(row.method) or PLAIN
        model = from_pretrained(
            source, vector=vectors, weights=row.grid, scale=scale, rounding=rounding, revision=revision
        )
        images: Dataset | str = row.dataset
        if row.dataset.startswith(ZOO):
            limits = Images.model_validate({row.split: row.n})
            images = load_task_split(TaskSpec(name="task", dataset=row.dataset), row.split, limits)
        found = evaluate(
            model,
            images,
            processor=source,
            split=row.split,
            limit=row.n,
            revision=None if row.dataset.startswith(ZOO) else row.dataset_revision,
            batch_size=BATCH,
            progress=False,
        )
        return found.correct

    def _receiver(self, row: Row) -> tuple[str | Path, str | None]:
        """The folder with exactly the row's weights and None, or a Hub id and its commit."""
        known = self.context.receivers.get(row.receiver)
        if known and self.library:
            folder = self.library.receiver(known.base, row.seed, known.task, known.kind)
            if not folder.is_dir():
                raise QVecError(f"{row.receiver}: expected it in '{folder}', found nothing there; name its --models")
            _same(row.receiver, row.receiver_revision, hash_of(folder))
            return folder, None
        if REPO_ID.accepts(row.receiver) and row.receiver_revision:
            return row.receiver, row.receiver_revision
        raise QVecError(f"{row.receiver}: expected a Hub id with its commit, or a model of --models, found neither")

    def _donor(self, row: Row, donor: DonorUse) -> QuantizationVector:
        known = self.context.donors.get(donor.repo)
        if known and self.library and row.grid is not None:
            folder = self.library.vector(known.base, row.seed, known.task, row.grid)
            vector = QuantizationVector.from_pretrained(folder)
            _same(donor.repo, donor.revision, revision_of(vector))
            return vector
        if REPO_ID.accepts(donor.repo) and donor.revision:
            return QuantizationVector.from_pretrained(donor.repo, revision=donor.revision)
        raise QVecError(f"{donor.repo}: expected a Hub id with its commit, or a vector of --models, found neither")


def _same(name: str, wanted: str | None, found: str | None) -> None:
    if wanted != found:
        raise QVecError(f"{name}: expected the weights {wanted} that the row was counted with, found {found}")


def _device() -> str:
    return str(processes().device)
