"""Everything of a donor's training that can fail, done once in small before anything is trained."""

from __future__ import annotations

import copy
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers import AutoConfig, PreTrainedModel, TrainerCallback

from ..artifact.images import side_of
from ..errors import DataError, QVecError, first_line
from ..grid.grid import Grid
from ..vector.vector import QuantizationVector
from .pixels import Pixels
from .qat import prepare_qat_, strip_qat_
from .recipe import TrainingRecipe
from .run import rehearse
from .shared_images import shared_images

__all__ = ["Job", "check_labels", "preflight"]


@dataclass(frozen=True)
class Job:
    """A training that is about to begin.

    base: what the base is called. start: the model that all runs begin with. about: of the donor, for the vector's
    config. share_images: as for `train_donor`.
    """

    base: str
    start: PreTrainedModel
    processor: Any
    images: Mapping[str, Dataset]
    data: Mapping[str, Pixels]
    grids: Sequence[Grid]
    recipe: TrainingRecipe
    about: Mapping[str, str | None]
    callbacks: Sequence[TrainerCallback]
    arguments: Mapping[str, Any] | None
    share_images: int


def preflight(job: Job, out: Path, folders: int) -> NDArray[np.uint8] | None:
    """Go through a training with a single step: what fails here would fail after hours.

    Args:
        out: the donor's folder; nothing of this stays there.
        folders: how many models and vectors are still to be written.

    Returns:
        The images that the vectors carry, uint8 ``(n, size, size, 3)``; None for none.

    Raises:
        QVecError: or a subclass, when the training would fail.
    """
    _refuse_broken_base(job)
    for data in job.data.values():
        _refuse_pixels(job, data)
    shared = _shared(job)
    place = _existing(out)
    _refuse_full_disk(job, place, folders)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=place) as scratch:
            _rehearse(job, Path(scratch), shared)
    except OSError as error:
        raise QVecError(f"folder '{out}': cannot be made or written to ({error}); choose another") from error
    return shared


def check_labels(name: str, labels: Mapping[str, Sequence[int]], classes: Sequence[str], named: bool) -> None:
    """Refuse labels that nothing can be learned from, and warn of a split that measures what is not learned.

    Args:
        name: of the dataset. labels: by split, ``"train"`` among them. named: whether the classes have names.

    Raises:
        DataError: labels outside the classes, a single class, or more classes than images where they have no names.
    """
    for split, ids in labels.items():
        outside = [(row, label) for row, label in enumerate(ids) if not 0 <= label < len(classes)]
        if outside:
            row, label = outside[0]
            raise DataError(
                f"dataset {name}: expected labels from 0 to {len(classes) - 1} in the {split} split, found {label} in "
                f"row {row}; number the classes from 0, and leave out images without a label"
            )
    trained = set(labels["train"])
    if len(trained) < 2:
        raise DataError(
            f"dataset {name}: expected images of at least two classes in the train split, found only "
            f"{classes[min(trained)]!r}; a classifier learns nothing from one class"
        )
    if not named and len(classes) > max(len(labels["train"]), 2 * len(trained)):
        raise DataError(
            f"dataset {name}: expected labels that count the classes from 0, found {len(trained)} labels up to "
            f"{len(classes) - 1}; number the classes without holes, or name them (ClassLabel)"
        )
    for split, ids in labels.items():
        unseen = [classes[label] for label in sorted(set(ids) - trained)]
        if unseen:
            warnings.warn(
                f"dataset {name}: {len(unseen)} classes of the {split} split have no image in the train split "
                f"({', '.join(unseen[:4])}{', …' if len(unseen) > 4 else ''}), so they are never right",
                stacklevel=2,
            )


def _refuse_broken_base(job: Job) -> None:
    for name, tensor in job.start.named_parameters():
        if not bool(torch.isfinite(tensor).all()):
            raise QVecError(f"base '{job.base}': expected finite weights, found NaN or infinity in '{name}'")


@torch.no_grad()
def _refuse_pixels(job: Job, data: Pixels) -> None:
    """One image of a split through the model: do the pixels fit?"""
    pixels = data[0]["pixel_values"]  # (channels, height, width)
    processor = f"base '{job.base}': its image processor makes pixel values"
    advice = "fix preprocessor_config.json or pass processor="
    if not bool(torch.isfinite(pixels).all()):
        raise QVecError(f"{processor} with NaN or infinity (dataset {data.name}); {advice}")
    try:
        job.start(pixels[None])
    except (ValueError, RuntimeError) as error:
        raise QVecError(
            f"{processor} of shape {tuple(pixels.shape)}, which the model refuses ({' '.join(str(error).split())}); "
            f"{advice}"
        ) from error


def _shared(job: Job) -> NDArray[np.uint8] | None:
    if type(job.share_images) is int and job.share_images == 0:
        return None
    return shared_images(job.images["train"], job.share_images, side_of(getattr(job.start.config, "image_size", None)))


def _rehearse(job: Job, scratch: Path, shared: NDArray[np.uint8] | None) -> None:
    """A step of the last run, and a vector of what came out, written and read again."""
    twin = prepare_qat_(copy.deepcopy(job.start), job.grids[-1])
    rehearse(twin, job.data["train"], job.recipe, scratch / "run", job.callbacks, job.arguments)
    torch.nn.Module.to(strip_qat_(twin), "cpu")
    with torch.no_grad():
        next(twin.base_model.parameters()).add_(1.0)  # a difference, whatever the optimizer came to
    grid, recipe = job.grids[-1], job.recipe.to_dict()
    vector = QuantizationVector.extract(job.start, twin, base=job.start, donor=job.about, recipe=recipe, grid=grid)
    vector = vector if shared is None else vector.with_images(shared)
    vector.save_pretrained(scratch / "vector")
    QuantizationVector.from_pretrained(scratch / "vector").images()
    try:
        job.start.config.save_pretrained(scratch / "model")
        AutoConfig.from_pretrained(scratch / "model")
        job.processor.save_pretrained(scratch / "model")
    except Exception as error:  # of a processor that may be anybody's
        raise QVecError(
            f"base '{job.base}': expected a model and an image processor that can be saved, found "
            f"{type(error).__name__}: {first_line(error)}; pass a transformers image processor as processor="
        ) from error


def _refuse_full_disk(job: Job, place: Path, folders: int) -> None:
    size = sum(tensor.nbytes for tensor in job.start.state_dict().values())
    with suppress(OSError):
        free = shutil.disk_usage(place).free
        if free < folders * size:
            raise QVecError(
                f"folder '{place}': expected {folders * size / 1e6:,.1f} MB for {folders} models and vectors, found "
                f"{free / 1e6:,.1f} MB free; choose another folder or make room"
            )


def _existing(out: Path) -> Path:
    """The folder where `out` is to be: itself, or its nearest parent that exists."""
    found = next((path for path in (out, *out.absolute().parents) if path.exists()), Path("/"))
    if not found.is_dir():
        raise QVecError(f"folder '{out}': cannot be made, since {found} is a file; choose another")
    return found
