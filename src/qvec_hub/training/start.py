"""The model both runs of a donor start from: the base's backbone under a head for the donor's classes."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForImageClassification, PreTrainedModel, set_seed

from ..errors import ArtifactError, QVecError

__all__ = ["base_name", "starting_model"]


def base_name(base: str | Path | PreTrainedModel) -> str:
    """What to call the base: its repo id or folder, or where a model object was loaded from."""
    return str(getattr(base, "name_or_path", "") or type(base).__name__) if isinstance(base, nn.Module) else str(base)


def starting_model(base: str | Path | PreTrainedModel, classes: list[str], seed: int) -> PreTrainedModel:
    """The base in float32 with a head of ``len(classes)`` outputs.

    A head of that very size is kept; any other is replaced by a new one, drawn with `seed` alone, so
    that two calls give the same model.

    Raises:
        ArtifactError: no such model, not an image classifier's backbone, or backbone weights missing.
    """
    model = _from_object(base, classes, seed) if isinstance(base, nn.Module) else _from_files(base, classes, seed)
    model.config.id2label = dict(enumerate(classes))
    model.config.label2id = {name: index for index, name in enumerate(classes)}
    return model


def _from_files(base: str | Path, classes: list[str], seed: int) -> PreTrainedModel:
    set_seed(seed)
    try:
        model, report = AutoModelForImageClassification.from_pretrained(
            base, num_labels=len(classes), ignore_mismatched_sizes=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(
            f"base '{base}': expected a transformers image model (a folder with config.json and safetensors, or a "
            f"Hub id), found none that loads ({' '.join(str(error).split())[:300]})"
        ) from error
    _check_backbone(str(base), model, set(report["missing_keys"]) | {entry[0] for entry in report["mismatched_keys"]})
    return model


def _from_object(base: nn.Module, classes: list[str], seed: int) -> PreTrainedModel:
    if not isinstance(base, PreTrainedModel):
        raise QVecError(
            f"base: expected a transformers model, a folder or a Hub id, found {type(base).__name__}; "
            "load the base with transformers first"
        )
    config = copy.deepcopy(base.config)
    config.num_labels = len(classes)
    set_seed(seed)
    try:
        model = AutoModelForImageClassification.from_config(config, dtype=torch.float32)
    except ValueError as error:
        raise ArtifactError(f"base: {type(base).__name__} is not the backbone of an image classifier") from error
    prefix = model.base_model_prefix
    headless = base.base_model is base  # then its names lack the backbone's prefix
    found = {f"{prefix}.{name}" if headless else name: tensor for name, tensor in base.state_dict().items()}
    wanted = model.state_dict()
    fitting = {name: tensor for name, tensor in found.items() if name in wanted and wanted[name].shape == tensor.shape}
    _check_backbone(base_name(base), model, set(wanted) - set(fitting))
    model.load_state_dict(fitting, strict=False)
    return model


def _check_backbone(name: str, model: PreTrainedModel, absent: set[str]) -> None:
    """Only a head may be new: a backbone tensor drawn at random would pass for a base."""
    lost = sorted(key for key in absent if key.startswith(f"{model.base_model_prefix}."))
    if lost:
        raise ArtifactError(
            f"base '{name}': expected all weights of the {type(model).__name__} backbone, found none of the right "
            f"shape for {len(lost)}, the first being '{lost[0]}'; use the complete checkpoint of this architecture"
        )
