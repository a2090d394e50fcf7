"""Probes: a base itself under a head that is fitted to its features."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import PartialState
from datasets import Dataset, DatasetDict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel

from ..backbone.processor import require_processor
from ..errors import ArtifactError, first_line
from ..util.scratch import check_writable
from .donor_images import dataset_name, donor_images
from .folder import publish
from .head import fit_head_
from .pixels import Pixels
from .preflight import refuse_pixels
from .progress import quiet_transformers
from .start import base_name, starting_model
from .surroundings import surroundings_kept

__all__ = ["take_head_", "train_probe"]

WEIGHTS = "model.safetensors"


@surroundings_kept()
@quiet_transformers()
def train_probe(
    base: str | Path | PreTrainedModel, dataset: str | Path | Dataset | DatasetDict, out: str | Path
) -> Path:
    """Save the base under a head that is fitted to its features of the dataset's train split, in a new folder.

    Args:
        base, dataset: as for `train_donor`.
        out: the folder, made of transformers' files and the image processor; one that exists is left as it is.

    Returns:
        The folder.

    Raises:
        ArtifactError: when the base does not load, or the folder cannot be written.
        DataError: when the dataset does not load, has no images, or labels that nothing can be learned from.
        QVecError: when the pixels do not fit the base, or its head is not a linear layer.
    """
    folder = Path(out)
    there = folder.exists()
    PartialState().wait_for_everyone()  # no process may take what another writes here for an older probe
    if there:
        return folder
    check_writable(folder)
    images, classes = donor_images(dataset, "train", None, None, None)
    start = starting_model(base, classes, seed=0)  # of a head that is replaced
    processor = require_processor(start)
    mode = "L" if getattr(start.config, "num_channels", 3) == 1 else "RGB"
    data = Pixels(images["train"], processor, f"{dataset_name(dataset)}, train", mode=mode)
    refuse_pixels(base_name(base), start, data)
    fit_head_(start, data)

    def save(partial: Path) -> None:
        start.save_pretrained(partial)
        processor.save_pretrained(partial)

    publish(folder, save)
    return folder


def take_head_(model: PreTrainedModel, probe: Path) -> None:
    """Give a model the head of a probe of the same base and classes, instead of fitting it again.

    Raises:
        ArtifactError: when the probe cannot be read, or its head is of another shape.
    """
    head = model.get_submodule("classifier")
    assert isinstance(head, nn.Linear)
    try:
        saved = load_file(probe / WEIGHTS)
        with torch.no_grad():
            for name, parameter in head.named_parameters():
                found = saved[f"classifier.{name}"]
                if found.shape != parameter.shape:
                    raise ValueError(f"its head is {tuple(found.shape)}, not {tuple(parameter.shape)}")
                parameter.copy_(found)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ArtifactError(
            f"'{probe}': expected a base with a head fitted to the same task ({first_line(error)}); remove the folder"
        ) from error
