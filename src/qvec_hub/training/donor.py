"""Train a donor: a plain and a quantization-aware fine-tune of one base, and the vector between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from transformers import PreTrainedModel, TrainerCallback

from ..backbone.processor import require_processor
from ..errors import QVecError
from ..grid.grid import Grid
from .arguments import warn_of_endless_warmup
from .donor_images import about_donor, dataset_name, donor_images
from .folder import check_free, start_record
from .head import fit_head_
from .job import Job, model_folders
from .lock import alone_in
from .pair import TrainedDonor, train_pairs
from .pixels import Pixels
from .preflight import preflight
from .probe import take_head_
from .progress import quiet_transformers
from .qat import prepare_qat_, strip_qat_
from .recipes.training_recipe import TrainingRecipe
from .start import base_name, starting_model
from .surroundings import surroundings_kept

__all__ = ["train_donor", "train_donors"]


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
        recipe,
        {"grid": grid.to_dict()},
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


def train_donors(
    base: str | Path | PreTrainedModel,
    dataset: str | Path | Dataset | DatasetDict,
    out: str | Path,
    grids: Sequence[Grid],
    recipe: TrainingRecipe | None = None,
    **options: Any,
) -> dict[Grid, TrainedDonor]:
    """Train donors of one task for several grids; they share the plain fine-tune. See `train_donor`.

    `out` will hold ``fp/`` and, in a folder named after each grid, ``qat/`` and ``vector/``. Finished parts are kept:
    repeat the call after an interruption or to add a grid. No model is scored.

    Args:
        options: ``about``, the values for the donor in the vectors' configs (task, dataset, dataset_revision);
            ``arguments`` and ``share_images`` as for `train_donor`; ``probe``, a folder of `train_probe` for the same
            base and images, whose head is taken where the recipe would fit the very same.
    """
    folder = _folder(out)
    folders = {grid: folder / grid.name for grid in grids}
    return _train(base, dataset, folder, folders, recipe, {}, resume=True, scored=False, **options)


@surroundings_kept()
@quiet_transformers()
def _train(
    base: Any,
    dataset: Any,
    out: Path,
    folders: Mapping[Grid, Path],
    recipe: Any,
    record: Any,
    *,
    probe: Path | None = None,
    **options: Any,
) -> dict[Grid, TrainedDonor]:
    """Train ``fp`` in `out`, and for each grid ``qat`` and ``vector`` in its folder.

    Args:
        record: more settings for the record. probe: as for `train_donors`. options: as for `_job`.
    """
    job = _job(base, dataset, out, folders, recipe or TrainingRecipe(), **options)
    wanted = [*job.runs, *(folder / "vector" for folder in folders.values())]
    missing = sum(not folder.exists() for folder in wanted)
    images = preflight(job, missing) if missing else None
    if job.recipe.head == "probe" and probe is not None:
        take_head_(job.start, probe)
    elif job.recipe.head == "probe" and missing:
        fit_head_(job.start, job.data["train"])
    with alone_in(out):
        check_free(out, job.runs, job.resume)
        settings = {"base": job.base, **record, "recipe": job.recipe.to_dict(), "classes": job.classes}
        start_record(out, {**settings, "train_images": len(job.data["train"])}, job.resume)
        return train_pairs(job, images)


def _job(
    base: str | Path | PreTrainedModel,
    dataset: Any,
    out: Path,
    folders: Mapping[Grid, Path],
    recipe: TrainingRecipe,
    *,
    task: str | None = None,
    about: Mapping[str, str | None] | None = None,
    processor: Any = None,
    splits: tuple[str, str | None] = ("train", None),
    columns: tuple[str | None, str | None] = (None, None),
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    arguments: Mapping[str, Any] | None = None,
    share_images: int = 0,
    scored: bool = True,
) -> Job:
    """Open and check what a training is given."""
    if not isinstance(recipe, TrainingRecipe):
        raise QVecError(f"recipe: expected a TrainingRecipe, found {type(recipe).__name__}")
    known_as = base_name(base)
    check_free(out, model_folders(out, folders.values()), resume)
    images, classes = donor_images(dataset, *splits, *columns)
    if not scored:
        images.pop("validation", None)
    start = starting_model(base, classes, recipe.seed)
    processor = processor or require_processor(start)
    for grid in folders:  # so that a model it cannot be done to fails now, not after the first run
        strip_qat_(prepare_qat_(start, grid))
    mode = "L" if getattr(start.config, "num_channels", 3) == 1 else "RGB"
    data = {
        split: Pixels(rows, processor, f"{dataset_name(dataset)}, {split}", mode=mode) for split, rows in images.items()
    }
    warn_of_endless_warmup(recipe, len(data["train"]))
    return Job(
        base=known_as,
        start=start,
        processor=processor,
        classes=classes,
        data=data,
        out=out,
        folders=folders,
        recipe=recipe,
        about=about or about_donor(dataset, images["train"], task),
        resume=resume,
        callbacks=callbacks,
        arguments=arguments,
        share_images=share_images,
        scored=scored,
    )


def _folder(out: object) -> Path:
    if not isinstance(out, str | Path):
        raise QVecError(f"out: expected a folder, found {out!r}")
    try:
        return Path(out).expanduser()
    except RuntimeError as error:  # of a user who does not exist
        raise QVecError(f"out: expected a folder, found {str(out)!r} ({error})") from error
