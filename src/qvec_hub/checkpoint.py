"""Loading an ordinary float transformers checkpoint, with every way it can be broken told apart."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedModel
from transformers.utils import CONFIG_NAME, cached_file

from .artifact import Revision
from .conditions import off_meta
from .errors import ArtifactError, MisfitError, first_line
from .leftovers import refuse_leftovers
from .naming import canonical_names
from .schema import REPO_ID
from .untrusted import printable

__all__ = ["commit_in", "is_folder", "known_origin", "load_classifier", "load_complete", "load_config"]

HubArguments = dict[str, Any]  # revision, token, cache_dir, local_files_only


def is_folder(source: str | Path) -> bool:
    """Whether `source` means a local folder: it is one, or it cannot be a repo id.

    Raises:
        ArtifactError: when it looks like a path but nothing is there.
    """
    text = str(source)
    if text.startswith("hf://"):
        return False
    try:
        path = Path(source).expanduser()
        if path.is_dir():
            return True
        exists = path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # endless, with a NUL, or of a user who does not exist
        raise ArtifactError(f"{printable(source, 80)}: no such folder ({first_line(error)})") from error
    if exists:
        raise ArtifactError(f"{source}: is a file; expected a folder or a Hub repo id such as 'org/name'")
    slashes = text.partition("@")[0].count("/")  # a revision may hold more: org/name@refs/pr/1
    if isinstance(source, Path) or text.startswith((".", "/", "~")) or slashes > 1 or not text:
        raise ArtifactError(f"{source!s}: no such folder")
    return False


def known_origin(model: object, revision: str | None = None) -> Revision:
    """Where in the Hub a model came from, as far as it knows; a path of this machine means nothing elsewhere."""
    if isinstance(model, PreTrainedModel):
        config: Any = model.config
        model, revision = config._name_or_path, getattr(config, "_commit_hash", None)
    if not isinstance(model, str) or Path(model).is_dir() or not REPO_ID.accepts(model):
        return Revision()
    return Revision(model, revision)


def commit_in(path: object) -> str | None:
    """The commit that a file in the Hub's cache belongs to; None for any other file."""
    found = re.search(r"[\\/]snapshots[\\/]([0-9a-f]{40})[\\/]", str(path))
    return found[1] if found else None


def load_config(source: str | Path, **hub: Any) -> Any:
    """The transformers config of a folder or repo id; of the latter, `_commit_hash` says which commit it is.

    Raises:
        ArtifactError: when there is none.
    """
    is_folder(source)
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **hub)
        config._commit_hash = commit_in(cached_file(str(source), CONFIG_NAME, **hub))
        return config
    except Exception as error:  # of a file that may hold anything, and of a connection: whatever comes out of both
        raise ArtifactError(
            f"{source}: no transformers model config could be read ({first_line(error)}); expected a folder or a "
            "Hub repo id with config.json and model.safetensors"
        ) from error


def load_classifier(
    source: str | Path | PreTrainedModel, *, head_required: bool = True, **kwargs: Any
) -> PreTrainedModel:
    """A float image classifier from a folder or repo id; a model object passes through.

    Args:
        head_required: refuse a checkpoint without a trained head; a bare backbone is fine otherwise.
        kwargs: for transformers' ``from_pretrained`` (revision, token, cache_dir, local_files_only, dtype …).

    Raises:
        ArtifactError: when files are missing, truncated, not safetensors, or hold other tensors than the config says.
    """
    if isinstance(source, PreTrainedModel):
        return source
    config = load_config(source, **{k: kwargs[k] for k in _HUB_KEYS if k in kwargs})
    kwargs.setdefault("dtype", torch.float32)
    if config._commit_hash:
        kwargs["revision"] = config._commit_hash  # config and weights of one commit, whatever is pushed meanwhile
    model = load_complete(source, head_required, config=config, **kwargs)
    model.config._commit_hash = config._commit_hash
    return model


def load_complete(source: str | Path, head_required: bool, **kwargs: Any) -> PreTrainedModel:
    """transformers' ``from_pretrained``, but with an error where weights would be random or of another shape.

    Raises:
        ArtifactError: as `load_classifier`.
    """
    try:
        with off_meta():
            model, info = AutoModelForImageClassification.from_pretrained(
                source, use_safetensors=True, trust_remote_code=False, **TELL_ALL, **kwargs
            )
    except (SafetensorError, OSError) as error:
        raise ArtifactError(
            f"{source}: model.safetensors is missing or unreadable ({first_line(error)}); only intact safetensors "
            "files are read"
        ) from error
    except (RuntimeError, ValueError) as error:
        raise ArtifactError(f"{source}: not a loadable image classifier ({first_line(error)})") from error
    refuse_missing(source, model, info, head_required)
    refuse_leftovers(source, model, info["unexpected_keys"])
    return model


# Mismatches are reported to us rather than raised, so that we can name them.
TELL_ALL: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
_HUB_KEYS = ("revision", "token", "cache_dir", "local_files_only")


def refuse_missing(source: object, model: PreTrainedModel, info: dict[str, Any], head_required: bool) -> None:
    """Raise when a load left weights at their random initial values."""
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
    """Raise unless there are none: (name, shape in the checkpoint, shape in the model)."""
    if mismatched:
        name, found, expected = min(mismatched)
        raise ArtifactError(
            f"{source}: {name} has shape {tuple(found)} in the checkpoint, config.json asks for {tuple(expected)}; "
            "the files do not belong together"
        )


def refuse_absent(source: object, model: PreTrainedModel, missing: Sequence[str]) -> None:
    """Raise unless the list of weights that a checkpoint lacks is empty."""
    if missing:
        raise ArtifactError(
            f"{source}: {len(missing)} weights of {type(model).__name__} are not in the checkpoint "
            f"({', '.join(missing[:4])}{', …' if len(missing) > 4 else ''}) and would be random; "
            "expected a complete checkpoint"
        )
