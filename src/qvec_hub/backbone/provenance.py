"""What a model object knows of its past beyond its config: one attribute, ``model.qvec_provenance``.

transformers keeps the name a model was loaded from (``config._name_or_path``) and its commit (``config._commit_hash``).
`Provenance` holds what transformers has no place for. It is an immutable value in the model's ``__dict__``: copies,
pickles and ``torch.save`` carry it along, ``save_pretrained`` does not (what a saved model must know is in its
``config.json``), and a model made from another's config starts without. Only this module touches the attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from torch import nn
from transformers import PreTrainedModel

from ..artifact.config import Revision
from ..artifact.schema import REPO_ID

__all__ = ["Provenance", "keep_folder_", "known_origin", "provenance_of", "remember_origin_", "set_provenance_"]

ATTRIBUTE = "qvec_provenance"


@dataclass(frozen=True)
class Provenance:
    """What is known of a model object.

    Attributes:
        subfolder: where in its repository the checkpoint lies; None at the root, or for a folder of this machine.
        patch: the vector that `patch_` added: ``{"vector": [{repo_id, revision, weight, …}], "scale": λ,
            "base_model": {repo_id, revision}}``, as the ``config.json`` of the quantized model will say; None without
            one.
        processor: the image processor, or the text that says why there is none; None as long as nobody looked.
        processor_files: the files that the processor was read from, as bytes by name.
    """

    subfolder: str | None = None
    patch: Mapping[str, Any] | None = None
    processor: Any = None
    processor_files: Mapping[str, bytes] = field(default_factory=dict)


def provenance_of(model: object) -> Provenance:
    """A model's provenance; an empty one where nothing was recorded."""
    found: Provenance = getattr(model, ATTRIBUTE, Provenance())
    return found


def set_provenance_(model: nn.Module, **changes: Any) -> None:
    """Change fields of a model's `Provenance`; the others stay."""
    setattr(model, ATTRIBUTE, replace(provenance_of(model), **changes))


def remember_origin_(model: PreTrainedModel, name: str, commit: str | None, subfolder: str | None) -> None:
    """Record where a model's checkpoint lies.

    Args:
        name: a repo id or a folder.
        commit: of the repository; None for a folder.
        subfolder: of the repository; None for its root, or a folder.
    """
    model.config._name_or_path, model.config._commit_hash = name, commit
    set_provenance_(model, subfolder=subfolder)


def keep_folder_(model: PreTrainedModel) -> None:
    """Record the absolute path of the folder that a model was loaded from: the working directory may change."""
    name = str(model.config._name_or_path or "")
    if name and getattr(model.config, "_commit_hash", None) is None and Path(name).is_dir():
        model.config._name_or_path = str(Path(name).absolute())


def known_origin(model: object) -> Revision:
    """The repository that a model certainly came from; all None for a path of this machine.

    A name that looks like a repo id may be a relative path from another working directory. It counts as a repo id when
    the model knows its commit, as models loaded by this package do, or when the cache holds such a repository.
    """
    if not isinstance(model, PreTrainedModel):
        return Revision()
    name, commit = str(model.config._name_or_path or ""), getattr(model.config, "_commit_hash", None)
    if not REPO_ID.accepts(name) or name == f"snapshots/{commit}":
        return Revision()
    if commit is None and (Path(name).is_dir() or not isinstance(try_to_load_from_cache(name, "config.json"), str)):
        return Revision()
    return Revision(name, commit, provenance_of(model).subfolder)
