"""Train the two models of a donor, and write them and their vector, as far as they are not there yet."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from accelerate import PartialState
from numpy.typing import NDArray
from transformers import AutoModelForImageClassification, PreTrainedModel

from ..grid.grid import Grid
from .folder import publish, read_record, remove_run, run_folder, write_record
from .job import Job
from .qat import prepare_qat_
from .recipes.registry import Loss
from .run import Score, evaluate, train

__all__ = ["TrainedDonor", "train_for_grid", "train_pairs"]


@dataclass(frozen=True)
class TrainedDonor:
    """The folders of a trained donor and its scores.

    Attributes:
        fp, qat, vector: folders of the two models and of their vector.
        classes: class names by id.
        train_images: number of training images in an epoch.
        scores: counts on the validation split, empty without one: ``fp`` is the plain model, ``ptq`` the same model
            rounded to the grid, ``own_qat`` the quantization-aware model rounded to the grid.
    """

    fp: Path
    qat: Path
    vector: Path
    classes: list[str]
    train_images: int
    scores: dict[str, Score] = field(default_factory=dict)


def train_pairs(job: Job, images: NDArray[np.uint8] | None) -> dict[Grid, TrainedDonor]:
    """Train the plain model of a job and, for each grid, the model for it, and write what is not there yet.

    Args:
        images: what the vectors carry, uint8 ``(n, size, size, 3)``.

    Raises:
        ArtifactError: when a model, a vector or a checkpoint cannot be written.
        QVecError: when a run diverges or needs more memory than there is.
    """
    fp = job.out / "fp"
    _fine_tune(job, fp, lambda model: nullcontext())
    donors = {}
    for grid, folder in job.folders.items():
        qat, vector = folder / "qat", folder / "vector"
        train_for_grid(job, qat, grid, lambda: _opened(fp))
        if not vector.exists():
            publish(vector, job.vector(fp, qat, grid, images).save_pretrained)
        scores = _scores(job, fp, qat, grid) if "validation" in job.data else {}
        donors[grid] = TrainedDonor(fp, qat, vector, job.classes, len(job.data["train"]), scores)
    if PartialState().is_main_process:
        for run in job.runs:
            remove_run(run)
        if job.scored:
            found = {key: asdict(score) for donor in donors.values() for key, score in donor.scores.items()}
            write_record(job.out, {**read_record(job.out), "scores": found})
    return donors


def train_for_grid(job: Job, folder: Path, grid: Grid, plain: Callable[[], PreTrainedModel]) -> None:
    """Train a model by the job's recipe for a grid, and save it, unless it is there.

    Args:
        plain: loads the model that is trained plainly.
    """
    _fine_tune(job, folder, lambda model: job.training(model, grid, plain))


def _fine_tune(
    job: Job, folder: Path, training: Callable[[PreTrainedModel], AbstractContextManager[Loss | None]]
) -> None:
    """Train a copy of the start within a context that is made for it, and save it."""
    if folder.exists():
        return
    model = copy.deepcopy(job.start)
    with training(model) as loss:
        train(job, model, run_folder(folder), loss)

    def save(partial: Path) -> None:
        model.save_pretrained(partial)
        job.processor.save_pretrained(partial)

    publish(folder, save)
    if PartialState().is_main_process:
        remove_run(folder)


def _scores(job: Job, fp: Path, qat: Path, grid: Grid) -> dict[str, Score]:
    plain, trained = _opened(fp), _opened(qat)
    with tempfile.TemporaryDirectory(prefix="qvec-scores-") as scratch:  # where the Trainer may write what it likes
        return {
            "fp": evaluate(job, plain, Path(scratch)),
            "ptq": evaluate(job, prepare_qat_(plain, grid), Path(scratch)),
            "own_qat": evaluate(job, prepare_qat_(trained, grid), Path(scratch)),
        }


def _opened(folder: Path) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForImageClassification.from_pretrained(folder)
    return model
