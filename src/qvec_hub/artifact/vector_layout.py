"""The files of a vector's folder, by which a save knows which of them an earlier vector wrote."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from ..errors import ArtifactError
from ..util.atomic import check_save
from ..util.untrusted import parse_json, read_file
from ..util.written import Layout, unchanged
from . import config as artifact
from .tensor_files import MAX_HEADER_BYTES, TensorFiles, is_shard, tensor_files

__all__ = ["LAYOUT", "check_vector_folder", "shards_in"]

MODEL_CONFIG = "config.json"
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".safetensors.index.json")


def check_vector_folder(folder: str | Path, *, images: bool = False) -> None:
    """Refuse to save a vector to a folder that cannot be written to or holds something else, before it is computed.

    Args:
        images: whether the vector will carry images.

    Raises:
        ArtifactError: when the folder cannot be used; the message names what it holds.
    """
    names = [artifact.CONFIG_FILE, artifact.TENSOR_FILE, artifact.CARD_FILE]
    check_save(folder, LAYOUT, [*names, artifact.IMAGES_FILE] if images else names)


def shards_in(index: Path) -> set[str]:
    """The files that an index of safetensors names; none where there is no index that can be read."""
    try:
        values = parse_json(read_file(index, MAX_HEADER_BYTES), index)
    except ArtifactError:
        return set()
    named = values.get("weight_map") if isinstance(values, dict) else None
    return {name for name in named.values() if isinstance(name, str)} if isinstance(named, dict) else set()


def _tensors(folder: Path) -> Collection[str]:
    shards = {name for name in shards_in(folder / artifact.INDEX_FILE) if is_shard(name)}
    return {artifact.TENSOR_FILE, artifact.INDEX_FILE, *shards, *unchanged(folder, _beside_tensors(folder))}


def _beside_tensors(folder: Path) -> dict[str, str]:
    """Fingerprint and images of the folder's vector, as its tensor files list them; empty if they cannot be read."""
    with suppress(ArtifactError):
        told = TensorFiles(tensor_files(folder)).beside() or {}
        return {name: told[name] for name in (artifact.LINEAGE_FILE, artifact.IMAGES_FILE) if name in told}
    return {}


def _replaceable(folder: Path) -> Collection[str]:
    """Names that say nothing by themselves are the vector's where there is a vector."""
    more = (artifact.LINEAGE_FILE, artifact.IMAGES_FILE) if os.path.lexists(folder / artifact.CONFIG_FILE) else ()
    shards = (path.name for path in folder.glob("qvec*.safetensors") if is_shard(path.name))
    return (artifact.CONFIG_FILE, *shards, *more)


def _refuse_model(folder: Path, overwrite: bool) -> None:
    if os.path.lexists(folder / artifact.CONFIG_FILE) or not (folder / MODEL_CONFIG).is_file():
        return
    if any(path.name.endswith(_WEIGHTS) for path in folder.iterdir()):
        raise ArtifactError(
            f"{folder}: holds a model; nothing was changed. A vector needs a folder of its own: name another"
        )


LAYOUT = Layout(
    config=artifact.CONFIG_FILE,
    shared=(artifact.CARD_FILE,),
    removable=_tensors,
    replaceable=_replaceable,
    refuse=_refuse_model,
)
