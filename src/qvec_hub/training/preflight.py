"""Everything of a donor's training that can fail, done once in small before anything is trained."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, PreTrainedModel

from ..artifact.images import side_of
from ..errors import QVecError, first_line
from ..util.disk import refuse_full_disk
from ..util.scratch import existing_parent
from ..vector.vector import QuantizationVector
from .job import Job
from .pixels import Pixels, Unlabeled
from .run import rehearse
from .shared_images import shared_images

__all__ = ["preflight", "refuse_pixels"]


def preflight(job: Job, folders: int) -> NDArray[np.uint8] | None:
    """Go through a training with a single step: what fails here would fail after hours.

    Args:
        folders: how many models and vectors are still to be written; nothing of this stays in the donor's folder.

    Returns:
        The images that the vectors carry, uint8 ``(n, size, size, 3)``; None for none.

    Raises:
        QVecError: or a subclass, when the training would fail.
    """
    _refuse_broken_base(job)
    for data in job.data.values():
        refuse_pixels(job.base, job.start, data)
    shared, out = _shared(job), job.out
    size = sum(tensor.nbytes for tensor in job.start.state_dict().values())
    refuse_full_disk(out, folders * size, f"{folders} models and vectors")
    place = existing_parent(out)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=place) as scratch:
            _rehearse(job, Path(scratch), shared)
    except OSError as error:
        raise QVecError(f"folder '{out}': cannot be made or written to ({error}); choose another") from error
    return shared


def _refuse_broken_base(job: Job) -> None:
    for name, tensor in job.start.named_parameters():
        if not bool(torch.isfinite(tensor).all()):
            raise QVecError(f"base '{job.base}': expected finite weights, found NaN or infinity in '{name}'")


@torch.no_grad()
def refuse_pixels(base: str, start: PreTrainedModel, data: Pixels | Unlabeled) -> None:
    """One image of a split through the model: do the pixels fit?

    Args:
        base: what the base is called. start: the base under any head.

    Raises:
        QVecError: when they do not.
    """
    pixels = data[0]["pixel_values"]  # (channels, height, width)
    processor = f"base '{base}': its image processor makes pixel values"
    advice = "fix preprocessor_config.json or pass processor="
    if not bool(torch.isfinite(pixels).all()):
        raise QVecError(f"{processor} with NaN or infinity (dataset {data.name}); {advice}")
    try:
        start(pixels[None])
    except (ValueError, RuntimeError) as error:
        raise QVecError(
            f"{processor} of shape {tuple(pixels.shape)}, which the model refuses ({' '.join(str(error).split())}); "
            f"{advice}"
        ) from error


def _shared(job: Job) -> NDArray[np.uint8] | None:
    if type(job.share_images) is int and job.share_images == 0:
        return None
    size, data = side_of(getattr(job.start.config, "image_size", None)), job.data["train"]
    assert isinstance(data, Pixels)
    return shared_images(data.images, job.share_images, size)


def _rehearse(job: Job, scratch: Path, shared: NDArray[np.uint8] | None) -> None:
    """A step of the last run, and a vector of what came out, written and read again."""
    grid = list(job.folders)[-1]
    twin = copy.deepcopy(job.start)
    with job.training(twin, grid, lambda: copy.deepcopy(job.start)) as loss:
        rehearse(job, twin, scratch / "run", loss)
    torch.nn.Module.to(twin, "cpu")
    with torch.no_grad():
        next(twin.base_model.parameters()).add_(1.0)  # a difference, whatever the optimizer came to
    vector = job.vector(job.start, twin, grid, shared)
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
