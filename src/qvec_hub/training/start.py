"""Make the model that both runs of a donor start from: the base's backbone and a head for the donor's classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import PreTrainedModel, set_seed

from ..backbone.checkpoint import config_of, load_reported
from ..backbone.checkpoint_files import find_checkpoint
from ..backbone.leftovers import refuse_leftovers
from ..backbone.processor import keep_processor_, processor_of
from ..backbone.provenance import provenance_of, remember_origin_
from ..data.classes import model_names
from ..data.names import match
from ..errors import ArtifactError, DataError, QVecError

__all__ = ["base_name", "starting_model"]


def base_name(base: str | Path | PreTrainedModel) -> str:
    """What to call the base: its repo id or folder, or where a model object was loaded from.

    Raises:
        QVecError: when it is neither.
    """
    if isinstance(base, PreTrainedModel):
        return base.config._name_or_path or type(base).__name__
    if not isinstance(base, str | Path):
        raise QVecError(
            f"base: expected a transformers model, a folder or a Hub id, found {type(base).__name__}; "
            "load the base with transformers first"
        )
    return str(base)


def starting_model(base: str | Path | PreTrainedModel, classes: list[str], seed: int) -> PreTrainedModel:
    """Load the base in float32 with a head of ``len(classes)`` outputs.

    A head of that size is kept, and its outputs are sorted like `classes` if it names them. Any other head is replaced
    by a new one, drawn only from `seed`, so that two calls give the same model.

    Raises:
        ArtifactError: when there is no such model, it is no image classifier, or backbone weights are missing.
    """
    if isinstance(base, PreTrainedModel):
        model = _from_object(base, classes, seed)
    else:
        model = _from_files(base, str(base), classes, seed)
    _order_head_(model, classes)
    model.config.problem_type = "single_label_classification"  # cross-entropy, whatever the base was trained for
    model.config.id2label = dict(enumerate(classes))
    model.config.label2id = {name: index for index, name in enumerate(classes)}
    return model


@torch.no_grad()
def _order_head_(model: PreTrainedModel, classes: list[str]) -> None:
    """Bring the outputs of a head that came with the base into the order of the classes, where it has these names."""
    config: Any = model.config
    try:
        names = model_names(config.id2label, len(classes), config.label2id)
    except DataError:
        return  # names of something else
    order = None if names is None else match(classes, names)
    if order is None or order == list(range(len(classes))):
        return
    for name, tensor in model.named_parameters():
        if not name.startswith(f"{model.base_model_prefix}.") and tensor.shape[0] == len(classes):
            tensor.copy_(tensor[torch.tensor(order)])


def _from_files(source: str | Path, name: str, classes: list[str], seed: int) -> PreTrainedModel:
    checkpoint = replace(find_checkpoint(source), said=f"base '{name}'")
    config = config_of(checkpoint)
    config.num_labels = len(classes)
    set_seed(seed)
    model, report = load_reported(checkpoint, config, dtype=torch.float32)
    _check_backbone(name, model, set(report["missing_keys"]) | {entry[0] for entry in report["mismatched_keys"]})
    refuse_leftovers(f"base '{name}'", model, report["unexpected_keys"])
    return model


def _from_object(base: PreTrainedModel, classes: list[str], seed: int) -> PreTrainedModel:
    """By way of a folder, so that an object and its folder give the same model to the bit."""
    with TemporaryDirectory() as folder:
        base.save_pretrained(folder)
        model = _from_files(folder, base_name(base), classes, seed)
    # Where the base came from, for the vector's config.
    commit = getattr(base.config, "_commit_hash", None)
    remember_origin_(model, base.config._name_or_path, commit, provenance_of(base).subfolder)
    processor = processor_of(base)
    if processor is not None:
        keep_processor_(model, processor)
    return model


def _check_backbone(name: str, model: PreTrainedModel, absent: set[str]) -> None:
    """Only a head may be new: a backbone tensor drawn at random would pass for a base."""
    lost = sorted(key for key in absent if key.startswith(f"{model.base_model_prefix}."))
    if lost:
        raise ArtifactError(
            f"base '{name}': expected all weights of the {type(model).__name__} backbone, found none of the right "
            f"shape for {len(lost)}, the first being '{lost[0]}'; use the complete checkpoint of this architecture"
        )
