"""The model both runs of a donor start from: the base's backbone under a head for the donor's classes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError
from transformers import AutoModelForImageClassification, PreTrainedModel, set_seed

from ..checkpoint import is_folder, load_config
from ..errors import ArtifactError, QVecError
from ..leftovers import refuse_leftovers
from ..place import split_revision

__all__ = ["base_name", "locate", "starting_model"]


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
    """The base in float32 with a head of ``len(classes)`` outputs.

    A head of that very size is kept; any other is replaced by a new one, drawn with `seed` alone, so
    that two calls give the same model.

    Raises:
        ArtifactError: no such model, not an image classifier's backbone, or backbone weights missing.
    """
    if isinstance(base, PreTrainedModel):
        model = _from_object(base, classes, seed)
    else:
        folder, revision = locate(base)
        model = _from_files(folder, str(base), classes, seed, revision)
    model.config.problem_type = "single_label_classification"  # cross-entropy, whatever the base was trained for
    model.config.id2label = dict(enumerate(classes))
    model.config.label2id = {name: index for index, name in enumerate(classes)}
    return model


def locate(base: str | Path) -> tuple[str, str | None]:
    """A folder, or a Hub id and its revision (``org/name@revision``).

    Raises:
        ArtifactError: a path where nothing is.
    """
    return (str(Path(base).expanduser()), None) if is_folder(base) else split_revision(str(base))


def _from_files(folder: str, name: str, classes: list[str], seed: int, revision: str | None = None) -> PreTrainedModel:
    commit = load_config(folder, revision=revision or "main")._commit_hash
    set_seed(seed)
    try:
        model, report = AutoModelForImageClassification.from_pretrained(
            folder,
            revision=commit or revision or "main",
            num_labels=len(classes),
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(
            f"base '{name}': expected a transformers image model (a folder with config.json and safetensors, or a "
            f"Hub id), found none that loads ({' '.join(str(error).split())[:300]})"
        ) from error
    model.config._commit_hash = commit
    _check_backbone(name, model, set(report["missing_keys"]) | {entry[0] for entry in report["mismatched_keys"]})
    refuse_leftovers(f"base '{name}'", model, report["unexpected_keys"])
    return model


def _from_object(base: PreTrainedModel, classes: list[str], seed: int) -> PreTrainedModel:
    """By way of a folder, so that an object and its folder give the same model to the bit."""
    with TemporaryDirectory() as folder:
        base.save_pretrained(folder)
        model = _from_files(folder, base_name(base), classes, seed)
    # Where the base came from, for the vector's config.
    model.config._name_or_path = base.config._name_or_path
    model.config._commit_hash = getattr(base.config, "_commit_hash", None)
    return model


def _check_backbone(name: str, model: PreTrainedModel, absent: set[str]) -> None:
    """Only a head may be new: a backbone tensor drawn at random would pass for a base."""
    lost = sorted(key for key in absent if key.startswith(f"{model.base_model_prefix}."))
    if lost:
        raise ArtifactError(
            f"base '{name}': expected all weights of the {type(model).__name__} backbone, found none of the right "
            f"shape for {len(lost)}, the first being '{lost[0]}'; use the complete checkpoint of this architecture"
        )
