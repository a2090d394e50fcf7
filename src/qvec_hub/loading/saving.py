"""Saving a model together with the image processor that it was loaded with."""

from __future__ import annotations

import os
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from ..backbone.processor import kept_files, load_processor, processor_of
from ..errors import ArtifactError, QVecError

__all__ = ["save_with_processor_", "write_processor"]

PUSH_OPTIONS = ("token", "private", "commit_message", "commit_description", "revision", "create_pr", "tags")


def save_with_processor_(model: PreTrainedModel) -> PreTrainedModel:
    """Make the model's ``save_pretrained`` (and so its ``push_to_hub``) also write its image processor.

    Only this object is changed; a copy of the model saves the copy.
    """
    model.save_pretrained = partial(_save, model)  # type: ignore[method-assign]
    return model


def write_processor(model: PreTrainedModel, folder: Path) -> None:
    """Write a model's image processor into a folder, byte for byte as it was read, unless the folder has one.

    Warns when the folder's own processor works differently, and keeps it: somebody may have put it there on purpose.
    """
    processor, files = processor_of(model), kept_files(model)
    present = [name for name in ("processor_config.json", "preprocessor_config.json") if (folder / name).exists()]
    if present:
        if processor is not None and not _alike(processor, folder):
            warnings.warn(
                f"{folder}: keeps its {present[0]}, which differs from the image processor the model was loaded with; "
                "if it is an old one, delete it and save again",
                stacklevel=4,
            )
    elif files:
        for name, content in files.items():
            partly = folder / f".{name}.partial"
            partly.write_bytes(content)
            partly.replace(folder / name)
    elif processor is not None and hasattr(processor, "save_pretrained"):
        processor.save_pretrained(folder)


def _save(model: PreTrainedModel, save_directory: str | os.PathLike[str], *args: Any, **options: Any) -> None:
    """Run transformers' ``save_pretrained``, then write the image processor.

    Raises:
        ArtifactError: when the folder cannot be written.
    """
    folder = Path(save_directory)
    push = options.pop("push_to_hub", False)
    pushing = {key: options.pop(key) for key in ("repo_id", *PUSH_OPTIONS) if push and key in options}
    if folder.is_file():
        raise ArtifactError(f"{folder}: is a file; expected a folder to save the model to")
    try:
        type(model).save_pretrained(model, save_directory, *args, **options)
        if options.get("is_main_process", True):
            write_processor(model, folder)
    except OSError as error:
        raise ArtifactError(
            f"{error.filename or folder}: cannot be written ({error.strerror or error}); choose a folder that you may "
            "write to, on a disk with space"
        ) from error
    if push:  # in one commit with the card, rather than file by file
        sizes = {"max_shard_size": options["max_shard_size"]} if "max_shard_size" in options else {}
        model.push_to_hub(pushing.pop("repo_id", folder.name), **pushing, **sizes)


def _alike(processor: Any, folder: Path) -> bool:
    """Whether a folder's processor has the same settings as this one."""
    try:
        other = load_processor(folder)
    except QVecError:
        return False
    return hasattr(processor, "to_dict") and bool(other.to_dict() == processor.to_dict())
