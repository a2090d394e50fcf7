"""Load a float transformers checkpoint, with a clear error for each way it can be broken."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel

from ..errors import ArtifactError, MisfitError, QVecError, first_line
from ..util.foreign import foreign_errors
from .checkpoint_files import HUB_KEYS, Checkpoint, find_checkpoint, read_config
from .conditions import off_meta
from .config_values import refuse_impossible
from .leftovers import refuse_leftovers
from .names import canonical_names
from .provenance import remember_origin_

__all__ = [
    "config_of",
    "load_classifier",
    "load_complete",
    "load_config",
    "load_reported",
]

# Weights that may be missing from the checkpoint, as those of a head, and that a file may hold for each of its bytes.
_NEW_WEIGHTS, _WEIGHTS_A_BYTE = 50_000_000, 8


def load_config(source: str | Path, **hub: Any) -> Any:
    """Load the transformers config of a folder or repo id; `_commit_hash` is the commit of a repository.

    Args:
        source, hub: as for `find_checkpoint`.

    Raises:
        ArtifactError: when there is none.
        HubError: when the Hub refuses or is not reached.
    """
    return config_of(find_checkpoint(source, **hub))


def config_of(checkpoint: Checkpoint) -> Any:
    """Load a checkpoint's transformers config.

    Raises:
        ArtifactError: when it cannot be read, or describes an impossible model.
    """
    refuse_impossible(checkpoint.said, read_config(checkpoint))
    with foreign_errors(
        ArtifactError,
        f"{checkpoint.said}: no transformers model config could be read",
        "expected a folder or a Hub repo id with config.json and model.safetensors",
    ):
        config = AutoConfig.from_pretrained(str(checkpoint.folder), trust_remote_code=False)
    config._name_or_path, config._commit_hash = checkpoint.name, checkpoint.commit
    return config


def load_classifier(
    source: str | Path | PreTrainedModel, *, head_required: bool = True, **kwargs: Any
) -> PreTrainedModel:
    """Load a float image classifier from a folder or repo id; a model object is returned as it is.

    Args:
        source: a folder, ``"org/name[@revision]"``, ``"hf://org/name[@revision]/subfolder"`` or a model.
        head_required: refuse a checkpoint without a trained head; if False, a bare backbone is accepted.
        kwargs: revision, subfolder, token, cache_dir, local_files_only, force_download, and further ones for
            transformers' ``from_pretrained``, such as dtype.

    Raises:
        ArtifactError: when files are missing, truncated, not safetensors, or hold other tensors than the config says.
        HubError: when the Hub refuses or is not reached.
    """
    if isinstance(source, PreTrainedModel):
        return source
    checkpoint = find_checkpoint(source, **{key: kwargs.pop(key) for key in HUB_KEYS if key in kwargs})
    kwargs.setdefault("dtype", torch.float32)
    return load_complete(checkpoint, config_of(checkpoint), head_required, **kwargs)


def load_complete(
    checkpoint: Checkpoint, config: PreTrainedConfig, head_required: bool, variant: str | None = None, **kwargs: Any
) -> PreTrainedModel:
    """Run transformers' ``from_pretrained``, and raise if weights would be random or of another shape.

    Args:
        config: as `config_of` gives it, or changed.
        kwargs: for transformers' ``from_pretrained``: dtype, quantization_config, ….

    Raises:
        ArtifactError, HubError: as `load_classifier`.
    """
    model, info = load_reported(checkpoint, config, variant, **kwargs)
    refuse_missing(checkpoint.said, model, info, head_required)
    refuse_leftovers(checkpoint.said, model, info["unexpected_keys"])
    return model


def load_reported(
    checkpoint: Checkpoint, config: PreTrainedConfig, variant: str | None = None, **kwargs: Any
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Load a model and transformers' report on the loading; the weights that it lists as missing are random.

    Raises:
        ArtifactError: when the files are missing or cannot be read, or no such model can be built.
        HubError: when the Hub refuses or is not reached.
    """
    said = checkpoint.said
    _refuse_unbuildable(said, config, sum(path.stat().st_size for path in checkpoint.weights(variant)))
    with foreign_errors(ArtifactError, f"{said}: not a loadable image classifier"), off_meta():
        try:
            model, info = AutoModelForImageClassification.from_pretrained(
                str(checkpoint.folder),
                config=config,
                use_safetensors=True,
                trust_remote_code=False,
                variant=variant,
                **TELL_ALL,
                **kwargs,
            )
        except QVecError as error:
            if "quantization_config" in kwargs or said in str(error):
                raise  # it is about the vector, or says what it is about
            raise type(error)(f"{said}: {error}") from error  # about the checkpoint's own quantization
        except (SafetensorError, OSError) as error:
            raise ArtifactError(
                f"{said}: model.safetensors is missing or unreadable ({first_line(error)}); only intact safetensors "
                "files are read"
            ) from error
    subfolder = checkpoint.place.subfolder if checkpoint.place else None
    remember_origin_(model, checkpoint.name, checkpoint.commit, subfolder)
    return model, info


def _refuse_unbuildable(said: str, config: PreTrainedConfig, size: int) -> None:
    """Raise when a config describes no image classifier, or a far larger one than its checkpoint holds.

    Args:
        size: bytes of the checkpoint's weights.
    """
    with (
        foreign_errors(
            ArtifactError,
            f"{said}: config.json describes no image classifier that can be built",
            "correct the file, or use the one that belongs to the weights",
        ),
        torch.device("meta"),
    ):
        model = AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    weights = sum(parameter.numel() for parameter in model.parameters())
    if weights > _WEIGHTS_A_BYTE * size + _NEW_WEIGHTS:
        raise ArtifactError(
            f"{said}: config.json describes a model of {weights:,} weights, but the checkpoint's files have {size:,} "
            "bytes; the files do not belong together"
        )


# transformers reports mismatches instead of raising, so that our error can name them.
TELL_ALL: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}


def refuse_missing(source: object, model: PreTrainedModel, info: dict[str, Any], head_required: bool) -> None:
    """Raise when a load left weights at their random initial values.

    Args:
        info: transformers' report, see `load_reported`.
        head_required: also those of a head.

    Raises:
        ArtifactError: naming some of the weights.
    """
    refuse_mismatched(source, info["mismatched_keys"])
    missing = sorted(info["missing_keys"])
    try:
        backbone = canonical_names(model)
    except MisfitError as error:
        raise ArtifactError(f"{source}: {error}") from error
    if not head_required:
        prefix = f"{model.base_model_prefix}."
        missing = [name for name in missing if name in backbone or name.startswith(prefix)]
    refuse_absent(source, model, missing)


def refuse_mismatched(source: object, mismatched: Collection[tuple[str, Any, Any]]) -> None:
    """Raise when the list is not empty; its items are (name, shape in the checkpoint, shape in the model).

    Raises:
        ArtifactError: naming the first and its shapes.
    """
    if mismatched:
        name, found, expected = min(mismatched)
        raise ArtifactError(
            f"{source}: {name} has shape {tuple(found)} in the checkpoint, config.json asks for {tuple(expected)}; "
            "the files do not belong together"
        )


def refuse_absent(source: object, model: PreTrainedModel, missing: Sequence[str]) -> None:
    """Raise unless the list of weights that a checkpoint lacks is empty.

    Raises:
        ArtifactError: naming some of them.
    """
    if missing:
        raise ArtifactError(
            f"{source}: {len(missing)} weights of {type(model).__name__} are not in the checkpoint "
            f"({', '.join(missing[:4])}{', …' if len(missing) > 4 else ''}) and would be random; "
            "expected a complete checkpoint"
        )
