"""Train a donor: a plain and a quantization-aware fine-tune of one base, and the vector between them."""

from __future__ import annotations

import copy
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from datasets import Dataset, DatasetDict
from numpy.typing import NDArray
from transformers import AutoModelForImageClassification, PreTrainedModel, TrainerCallback

from ..backbone.processor import require_processor
from ..data.classes import class_names
from ..data.images import load_image_splits
from ..data.sources import dataset_revision
from ..errors import DataError, QVecError
from ..grid.grid import Grid
from ..vector.vector import QuantizationVector
from .folder import check_free, publish, read_record, remove_run, run_folder, start_record, write_record
from .head import fit_head_
from .lock import alone_in
from .pixels import Pixels
from .preflight import Job, check_labels, preflight
from .progress import quiet_transformers
from .qat import prepare_qat_, strip_qat_
from .recipe import TrainingRecipe
from .run import Score, evaluate, train, warn_of_endless_warmup
from .start import base_name, starting_model
from .surroundings import surroundings_kept

__all__ = ["TrainedDonor", "train_donor", "train_donors"]


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


@surroundings_kept()
@quiet_transformers()
def train_donor(
    base: str | Path | PreTrainedModel,
    dataset: str | Path | Dataset | DatasetDict,
    out: str | Path,
    *,
    grid: Grid | str = "int3",
    recipe: TrainingRecipe | None = None,
    task: str | None = None,
    processor: Any = None,
    train_split: str = "train",
    validation_split: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    arguments: Mapping[str, Any] | None = None,
    share_images: int = 0,
) -> TrainedDonor:
    """Fine-tune a base twice, plainly and quantization-aware, and save both models and their vector.

    Both runs start from the same model (the QAT run does not continue the FP run) and see the same images in the same
    order. Before them, one step with a few images checks that everything works; if it fails, `out` is left as it was.
    Settings that the Trainer changes for the whole process (random states, environment, torch's switches) are restored
    at the end. `out` will hold ``fp/`` and ``qat/`` (transformers folders with float weights and the image processor),
    ``vector/`` and a record of the settings; each appears only when it is complete.

    Args:
        base: a transformers model folder, a Hub id (``id@revision`` pins it), or a model object (not changed).
        dataset: labeled images: a source that `qvec_hub.data.images.load_image_splits` takes.
        out: a new folder, or that of an interrupted training with ``resume=True``.
        grid: the grid to train for: a `Grid` or its name, such as ``"int3"``.
        recipe: the hyper-parameters; by default those of arXiv 2604.03420.
        task: the task's name in the vector's config and card; by default the dataset's name.
        processor: the image processor; by default the one saved with the base.
        train_split: the split to train on.
        validation_split: the split to measure on; by default ``"validation"`` if the dataset has it.
        image_column, label_column: names of the dataset's columns, needed if they cannot be guessed.
        resume: continue from the last checkpoint and skip finished parts.
        callbacks: passed to the Trainers of both runs; ``args.run_name`` is ``"fp"`` or ``"qat"``.
        arguments: further `transformers.TrainingArguments` that do not change the result, such as
            ``dataloader_num_workers``, ``gradient_checkpointing`` or ``save_steps``; those that contradict the recipe
            are refused.
        share_images: number of training images, without labels, that the vector carries for receivers to be quantized
            with (see `QuantizationVector.with_images`), at most all of them; pass it only if you may publish them.

    Raises:
        ArtifactError: when the base does not load.
        DataError: when the dataset does not load, has no labels, lacks the split or has only one class, or its
            validation split has other classes.
        GridError: when the grid does not exist.
        QVecError: when settings contradict each other, the processor makes images of different sizes, another training
            uses `out`, or a run diverges.
    """
    grid, folder = Grid.parse(grid), _folder(out)
    trained = _train(
        base,
        dataset,
        folder,
        {grid: folder},
        recipe=recipe or TrainingRecipe(),
        record={"grid": grid.to_dict()},
        task=task,
        processor=processor,
        splits=(train_split, validation_split),
        columns=(image_column, label_column),
        resume=resume,
        callbacks=callbacks,
        arguments=arguments,
        share_images=share_images,
    )
    return trained[grid]


@surroundings_kept()
@quiet_transformers()
def train_donors(
    base: str | Path | PreTrainedModel,
    dataset: str | Path | Dataset | DatasetDict,
    out: str | Path,
    *,
    grids: Sequence[Grid],
    recipe: TrainingRecipe | None = None,
    about: Mapping[str, str | None] | None = None,
    arguments: Mapping[str, Any] | None = None,
    share_images: int = 0,
) -> dict[Grid, TrainedDonor]:
    """Train donors of one task for several grids; they share the plain fine-tune. See `train_donor`.

    `out` will hold ``fp/`` and, in a folder named after each grid, ``qat/`` and ``vector/``. Finished parts are kept:
    repeat the call after an interruption or to add a grid. No model is scored.

    Args:
        about: values for the donor in the vectors' configs: task, dataset, dataset_revision.
        share_images: as for `train_donor`.
    """
    folder = _folder(out)
    folders = {grid: folder / grid.name for grid in grids}
    return _train(
        base,
        dataset,
        folder,
        folders,
        recipe=recipe or TrainingRecipe(),
        record={},
        resume=True,
        about=about,
        arguments=arguments,
        scored=False,
        share_images=share_images,
    )


def _train(
    base: str | Path | PreTrainedModel,
    dataset: str | Path | Dataset | DatasetDict,
    out: Path,
    folders: Mapping[Grid, Path],
    *,
    recipe: TrainingRecipe,
    record: Mapping[str, Any],
    task: str | None = None,
    about: Mapping[str, str | None] | None = None,
    processor: Any = None,
    splits: tuple[str, str | None] = ("train", None),
    columns: tuple[str | None, str | None] = (None, None),
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    arguments: Mapping[str, Any] | None = None,
    scored: bool = True,
    share_images: int = 0,
) -> dict[Grid, TrainedDonor]:
    """Train ``fp`` in `out`, and for each grid ``qat`` and ``vector`` in its folder."""
    if not isinstance(recipe, TrainingRecipe):
        raise QVecError(f"recipe: expected a TrainingRecipe, found {type(recipe).__name__}")
    known_as = base_name(base)
    runs = [out / "fp", *(folder / "qat" for folder in folders.values())]
    check_free(out, runs, resume)
    images, classes = _load(dataset, *splits, *columns)
    if not scored:
        images.pop("validation", None)
    start = starting_model(base, classes, recipe.seed)
    processor = processor or require_processor(start)
    for grid in folders:  # so that a model it cannot be done to fails now, not after the first run
        strip_qat_(prepare_qat_(start, grid))
    mode = "L" if getattr(start.config, "num_channels", 3) == 1 else "RGB"
    data = {
        split: Pixels(rows, processor, f"{_dataset_name(dataset)}, {split}", mode=mode)
        for split, rows in images.items()
    }
    warn_of_endless_warmup(recipe, len(data["train"]))
    about = about or {"task": task or _task_name(dataset), **_dataset_source(dataset, images["train"])}
    job = Job(
        known_as, start, processor, images, data, list(folders), recipe, about, callbacks, arguments, share_images
    )
    wanted = [out / "fp", *(folder / name for folder in folders.values() for name in ("qat", "vector"))]
    missing = sum(not folder.exists() for folder in wanted)
    shared = preflight(job, out, missing) if missing else None
    if recipe.head == "probe":
        fit_head_(start, data["train"])
    with alone_in(out):
        check_free(out, runs, resume)
        settings = {"base": known_as, **record, "recipe": recipe.to_dict(), "classes": classes}
        start_record(out, {**settings, "train_images": len(data["train"])}, resume)
        return _run(job, out, folders, shared, classes, resume, scored)


def _run(
    job: Job,
    out: Path,
    folders: Mapping[Grid, Path],
    shared: NDArray[np.uint8] | None,
    classes: list[str],
    resume: bool,
    scored: bool,
) -> dict[Grid, TrainedDonor]:
    """Train and write what is not there yet."""
    data, recipe = job.data, job.recipe

    def fine_tune(folder: Path, grid: Grid | None) -> None:
        if folder.exists():
            return
        model = copy.deepcopy(job.start)
        if grid is not None:
            prepare_qat_(model, grid)
        train(model, data["train"], recipe, run_folder(folder), resume, job.callbacks, job.arguments)
        if grid is not None:
            strip_qat_(model)
        publish(folder, lambda partial: _save(model, job.processor, partial))
        if PartialState().is_main_process:
            remove_run(folder)

    fine_tune(out / "fp", None)
    donors = {}
    for grid, folder in folders.items():
        fine_tune(folder / "qat", grid)
        donor = TrainedDonor(out / "fp", folder / "qat", folder / "vector", classes, len(data["train"]))
        if not donor.vector.exists():
            vector = _extract(job.start, donor, job.about, recipe, grid)
            vector = vector if shared is None else vector.with_images(shared)
            publish(donor.vector, vector.save_pretrained)
        scores = _scores(donor, data["validation"], recipe, grid) if "validation" in data else {}
        donors[grid] = replace(donor, scores=scores)
    if PartialState().is_main_process:
        for run in (out / "fp", *(folder / "qat" for folder in folders.values())):
            remove_run(run)
        if scored:
            found = {key: asdict(score) for donor in donors.values() for key, score in donor.scores.items()}
            write_record(out, {**read_record(out), "scores": found})
    return donors


def _load(
    dataset: Any, train_split: str, validation_split: str | None, image_column: str | None, label_column: str | None
) -> tuple[dict[str, Dataset], list[str]]:
    """The splits "train" and, if there is one, "validation"; and the class names by id."""
    found = load_image_splits(dataset, image_column=image_column, label_column=label_column)
    for wanted in (train_split, validation_split):
        if wanted is not None and wanted not in found:
            raise DataError(
                f"dataset {_dataset_name(dataset)}: expected a split '{wanted}' with labels, found "
                f"{', '.join(sorted(found))}; name one of these"
            )
    splits = {"train": found[train_split]}
    measured = validation_split or ("validation" if "validation" in found else None)
    if measured is not None:
        splits["validation"] = found[measured]
    for split, images in splits.items():
        if not len(images):
            raise DataError(f"dataset {_dataset_name(dataset)}: expected images in the {split} split, found none")
    labels = {split: list(map(int, images["label"])) for split, images in splits.items()}
    names = class_names(splits["train"])
    classes = names or [str(label) for label in range(1 + max(0, *(max(ids) for ids in labels.values())))]
    check_labels(_dataset_name(dataset), labels, classes, names is not None)
    return splits, classes


def _folder(out: object) -> Path:
    if not isinstance(out, str | Path):
        raise QVecError(f"out: expected a folder, found {out!r}")
    try:
        return Path(out).expanduser()
    except RuntimeError as error:  # of a user who does not exist
        raise QVecError(f"out: expected a folder, found {str(out)!r} ({error})") from error


def _dataset_name(dataset: Any) -> str:
    return str(dataset) if isinstance(dataset, str | Path) else "(in memory)"


def _task_name(dataset: Any) -> str | None:
    """``org/eurosat``, ``photos/eurosat`` and ``zoo:eurosat`` are called ``eurosat``."""
    return re.split("[/:]", str(dataset).rstrip("/"))[-1] if isinstance(dataset, str | Path) else None


def _dataset_source(dataset: Any, train: Dataset) -> dict[str, str | None]:
    """Where others find the dataset; a path of this machine means nothing to them."""
    public = isinstance(dataset, str) and not Path(dataset).expanduser().exists()
    return {"dataset": dataset if public else None, "dataset_revision": dataset_revision(train)}


def _save(model: PreTrainedModel, processor: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _extract(
    start: PreTrainedModel, donor: TrainedDonor, about: Mapping[str, str | None], recipe: TrainingRecipe, grid: Grid
) -> QuantizationVector:
    # The start is the base under another head, loaded already, and it knows its Hub commit.
    return QuantizationVector.extract(donor.fp, donor.qat, base=start, donor=about, recipe=recipe.to_dict(), grid=grid)


def _scores(donor: TrainedDonor, data: Pixels, recipe: TrainingRecipe, grid: Grid) -> dict[str, Score]:
    fp, qat = (AutoModelForImageClassification.from_pretrained(folder) for folder in (donor.fp, donor.qat))
    with tempfile.TemporaryDirectory(prefix="qvec-scores-") as scratch:  # where the Trainer may write what it likes
        return {
            "fp": evaluate(fp, data, recipe, Path(scratch)),
            "ptq": evaluate(prepare_qat_(fp, grid), data, recipe, Path(scratch)),
            "own_qat": evaluate(prepare_qat_(qat, grid), data, recipe, Path(scratch)),
        }
