"""The files of a quantized model's folder: those a save replaces, removes or refuses to touch.

A save replaces only a model that this package quantized; replacing any other model, such as the float receiver, needs
``overwrite=True``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..artifact import config as artifact
from ..artifact.model_record import METHOD
from ..artifact.vector_layout import MODEL_CONFIG, shards_in
from ..errors import ArtifactError
from ..hub.transfer.repo_path import is_folder
from ..util.atomic import check_save
from ..util.scratch import real_path
from ..util.untrusted import parse_json, read_file
from ..util.written import Layout

__all__ = ["LAYOUT", "check_model_folder"]

WEIGHTS, INDEX, PROCESSOR = "model.safetensors", "model.safetensors.index.json", "preprocessor_config.json"
MAX_CONFIG_BYTES = 4 << 20  # class names of thousands of classes
_SHARD = re.compile(r"model-[0-9]{5}-of-[0-9]{5}\.safetensors")


def check_model_folder(folder: str | Path, receiver: str | Path, overwrite: bool = False) -> None:
    """Refuse to save a quantized model to a folder that cannot be written to or holds something else.

    Args:
        receiver: the float model; its folder may be `folder` under another name.
        overwrite: replace a model that is there.

    Raises:
        ArtifactError: when the folder cannot be used; the message names what it holds.
    """
    out = real_path(folder)
    if not overwrite and out.exists() and is_folder(receiver) and out.samefile(Path(receiver).expanduser()):
        raise ArtifactError(
            f"{folder}: is the receiver itself, which would be replaced by its quantized form; nothing was changed. "
            "Name another folder, or ask for it by overwrite=True (--overwrite)"
        )
    check_save(folder, LAYOUT, [MODEL_CONFIG, WEIGHTS, PROCESSOR, artifact.CARD_FILE], overwrite)


def _config(folder: Path) -> Any:
    """The folder's ``config.json``; None when there is none or it cannot be read."""
    try:
        return parse_json(read_file(folder / MODEL_CONFIG, MAX_CONFIG_BYTES), folder / MODEL_CONFIG)
    except ArtifactError:
        return None


def _is_quantized(folder: Path) -> bool:
    config = _config(folder)
    record = config.get("quantization_config") if isinstance(config, dict) else None
    return isinstance(record, dict) and record.get("quant_method") == METHOD


def _weights(folder: Path) -> Collection[str]:
    """Weight files of the model that is replaced: transformers would read old ones before new shards."""
    return {WEIGHTS, INDEX, *(name for name in shards_in(folder / INDEX) if _SHARD.fullmatch(name))}


def _removable(folder: Path) -> Collection[str]:
    return _weights(folder) if _is_quantized(folder) else ()


def _replaceable(folder: Path) -> Collection[str]:
    return (MODEL_CONFIG, PROCESSOR, *_weights(folder)) if _is_quantized(folder) else ()


def _refuse(folder: Path, overwrite: bool) -> None:
    if overwrite:
        return
    if os.path.lexists(folder / artifact.CONFIG_FILE):
        raise ArtifactError(
            f"{folder}: holds a quantization vector; nothing was changed. A model needs a folder of its own: name "
            "another, or ask for this one by overwrite=True (--overwrite)"
        )
    if os.path.lexists(folder / MODEL_CONFIG) and not _is_quantized(folder):
        config = _config(folder)
        kind = config.get("model_type") if isinstance(config, dict) else None
        what = f"another model ({kind!r})" if isinstance(kind, str) else f"a {MODEL_CONFIG} of something else"
        raise ArtifactError(
            f"{folder}: holds {what}, which would be replaced; expected a new folder or an earlier quantized model; "
            "nothing was changed. Name another folder, or ask for it by overwrite=True (--overwrite)"
        )


LAYOUT = Layout(
    config=MODEL_CONFIG,
    shared=(artifact.CARD_FILE,),
    removable=_removable,
    replaceable=_replaceable,
    refuse=_refuse,
)
