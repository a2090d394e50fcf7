"""Train a base donor: a base made for a grid, towards its own features, on images without labels."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, TrainerCallback

from ..apply.own_images import images_for
from ..backbone.processor import keep_processor_, require_processor
from ..errors import DataError, QVecError
from ..grid.grid import Grid
from ..proxies.model_inputs import proxy_pixels
from .folder import check_free, publish, start_record
from .job import Job
from .lock import alone_in
from .pair import train_for_grid
from .pixels import Unlabeled
from .preflight import preflight
from .progress import quiet_transformers
from .recipes.distill import DistillRecipe
from .start import base_name, starting_model
from .surroundings import surroundings_kept

__all__ = ["BaseDonor", "distill_donor"]

CLASSES = ["0", "1"]  # of a head that is not trained and in no vector


@dataclass(frozen=True)
class BaseDonor:
    """The folders of a base donor.

    Attributes:
        qat: the base trained for the grid. vector: its difference from the base.
        images: number of images it was trained on.
    """

    qat: Path
    vector: Path
    images: int


@surroundings_kept()
@quiet_transformers()
def distill_donor(
    base: str | Path | PreTrainedModel,
    out: str | Path,
    *,
    grid: Grid | str = "int3",
    images: Tensor | None = None,
    recipe: DistillRecipe | None = None,
    processor: Any = None,
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    arguments: Mapping[str, Any] | None = None,
) -> BaseDonor:
    """Train a base for a grid towards its own features, and save it and its vector, which belongs to no task.

    The vector serves every fine-tune of the base. `out` will hold ``qat/`` (with a head of no meaning), ``vector/`` and
    a record of the settings; each appears only when it is complete.

    Args:
        base: as for `train_donor`.
        out: a new folder, or that of an interrupted training with ``resume=True``.
        grid: the grid to train for: a `Grid` or its name.
        images: pixel values ``(images, channels, height, width)`` as the base's image processor makes them; by default
            those of the package's proxy images.
        recipe: the hyper-parameters.
        processor: the image processor; by default the one saved with the base.
        resume, callbacks, arguments: as for `train_donor`.

    Raises:
        ArtifactError: when the base does not load.
        DataError: when there are fewer images than a batch has, or all are alike.
        GridError: when the grid does not exist.
        QVecError: when settings contradict each other, the images do not fit, another training uses `out`, or the run
            diverges.
    """
    grid, folder = Grid.parse(grid), Path(out).expanduser()
    job = _job(base, folder, grid, images, recipe or DistillRecipe(), processor, resume, callbacks, arguments)
    qat, vector, data = folder / "qat", folder / "vector", job.data["train"]
    missing = sum(not each.exists() for each in (qat, vector))
    if missing:
        preflight(job, missing)
    with alone_in(folder):
        settings = {"base": job.base, "grid": grid.to_dict(), "recipe": job.recipe.to_dict(), "images": len(data)}
        start_record(folder, settings, resume)
        train_for_grid(job, qat, grid, lambda: copy.deepcopy(job.start))
        if not vector.exists():
            publish(vector, job.vector(job.start, qat, grid, None).save_pretrained)
    return BaseDonor(qat, vector, len(data))


def _job(
    base: Any,
    out: Path,
    grid: Grid,
    images: Tensor | None,
    recipe: Any,
    processor: Any,
    resume: bool,
    callbacks: Sequence[TrainerCallback],
    arguments: Mapping[str, Any] | None,
) -> Job:
    if not isinstance(recipe, DistillRecipe):
        raise QVecError(f"recipe: expected a DistillRecipe, found {type(recipe).__name__}")
    known_as = base_name(base)
    check_free(out, [out / "qat"], resume)
    start = starting_model(base, CLASSES, recipe.seed)
    if processor is not None:
        keep_processor_(start, processor)
    pixels = proxy_pixels(start, seed=recipe.seed) if images is None else images_for(start, images)
    _refuse_poor(pixels, recipe.batch_size)
    return Job(
        base=known_as,
        start=start,
        processor=processor or require_processor(start),
        classes=CLASSES,
        data={"train": Unlabeled(pixels, "proxy images" if images is None else "images")},
        out=out,
        folders={grid: out},
        recipe=recipe,
        about={"task": None, "dataset": None, "dataset_revision": None},
        resume=resume,
        callbacks=callbacks,
        arguments=arguments,
        share_images=0,
        scored=False,
    )


def _refuse_poor(pixels: Tensor, batch: int) -> None:
    """Refuse images that features cannot vary over."""
    if len(pixels) < batch:
        raise DataError(f"images: expected at least a batch of {batch}, found {len(pixels)}; pass more of them")
    if torch.equal(pixels, pixels[:1].expand_as(pixels)):
        raise DataError(f"images: expected different ones, found {len(pixels)} alike; pass images of many things")
