"""Fetching a vector from the Hub into its shared cache, and making sure that what lies there is what was announced."""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from huggingface_hub.hf_api import RepoFile

from . import artifact
from .artifact import VectorConfig
from .checkpoint import is_folder
from .errors import ArtifactError
from .remote import LIBRARY, Place, hub_api, hub_errors, parse_place

__all__ = ["locate", "way_out"]

_DIGITS = "[0-9]" * 5
_SHARDS = f"qvec-{_DIGITS}-of-{_DIGITS}.safetensors"
_WANTED = (
    artifact.CONFIG_FILE,
    artifact.TENSOR_FILE,
    _SHARDS,
    artifact.INDEX_FILE,
    artifact.LINEAGE_FILE,
    artifact.CARD_FILE,
)
_SMALL_FILE = 64 << 20  # index, lineage and card together: far above any real one
_HEADER_ROOM = 100 << 20  # the largest header safetensors reads


def locate(
    source: str | Path,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    subfolder: str | None = None,
) -> tuple[Path, Place | None]:
    """The local folder of a vector, fetched from the Hub if need be, and its repository at the resolved commit.

    Raises:
        ArtifactError: when there is no such folder, or what was fetched is no whole, intact vector.
        HubError: when the Hub refuses or cannot be reached, and the cache does not hold all of it.
    """
    if is_folder(source):
        folder = Path(source).expanduser()
        return (folder / subfolder if subfolder else folder), None
    place = parse_place(str(source), revision, subfolder)
    options = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only, **LIBRARY}
    root = _snapshot(place, place.revision, [artifact.CONFIG_FILE], options)
    pinned = Place(place.repo_id, root.name, place.subfolder)
    folder = root / place.subfolder if place.subfolder else root
    if not (folder / artifact.CONFIG_FILE).exists():
        raise ArtifactError(
            f"{place}: holds no {artifact.CONFIG_FILE}, so it is not a quantization vector; check the name, or name "
            "the folder inside it, as in hf://org/name/folder"
        )
    _refuse_corrupted(folder, pinned)
    with_way_out = way_out(pinned)
    try:
        config = VectorConfig.read(folder / artifact.CONFIG_FILE)
    except ArtifactError as error:
        raise ArtifactError(f"{error}{with_way_out}") from error
    _complete(pinned, config, options)
    _refuse_corrupted(folder, pinned)
    return folder, pinned


def way_out(place: Place | None) -> str:
    """What to do about a cached copy that is not intact; nothing for a local folder."""
    if place is None:
        return ""
    return (
        f". It is the cached copy of {place.repo_id} and was not used: remove it with `hf cache rm "
        f"model/{place.repo_id}` and load again; if that does not help, tell the owner of the repository"
    )


def _complete(place: Place, config: VectorConfig, options: dict[str, Any]) -> None:
    """Fetch the rest of the commit, unless the cache holds it or its size is not what the config promises."""
    try:
        snapshot_download(
            place.repo_id, revision=place.revision, allow_patterns=_patterns(place, _WANTED),
            **{**options, "local_files_only": True},
        )  # fmt: skip
    except LocalEntryNotFoundError:
        if not options["local_files_only"]:
            _refuse_oversized(place, config, options["token"])
        _snapshot(place, place.revision, _WANTED, options)


def _snapshot(place: Place, revision: str | None, names: Sequence[str], options: dict[str, Any]) -> Path:
    with hub_errors(place, "could not be fetched from the Hub"):
        return Path(
            snapshot_download(place.repo_id, revision=revision, allow_patterns=_patterns(place, names), **options)
        )


def _patterns(place: Place, names: Sequence[str]) -> list[str]:
    # `*` would cross folders in these patterns, so every wanted name is spelled out.
    prefix = f"{glob.escape(place.subfolder)}/" if place.subfolder else ""
    return [prefix + name for name in names]


def _refuse_oversized(place: Place, config: VectorConfig, token: str | bool | None) -> None:
    """Raise before anything large is fetched, when the files are larger than a vector of this config can be."""
    with hub_errors(place, "its files could not be listed"):
        entries = list(hub_api(token).list_repo_tree(place.repo_id, place.subfolder, revision=place.revision))
    assert config.tensors is not None
    wanted = [
        (entry.path, entry.size)
        for entry in entries
        if isinstance(entry, RepoFile)
        and any(fnmatch.fnmatchcase(entry.path, pattern) for pattern in _patterns(place, _WANTED))
    ]
    allowed = 4 * config.tensors.parameters + _HEADER_ROOM + _SMALL_FILE
    if (total := sum(size for _, size in wanted)) > allowed:
        path, size = max(wanted, key=lambda entry: entry[1])
        raise ArtifactError(
            f"{place}: its files have {total:,} bytes (the largest, {path}, {size:,}), but a vector of "
            f"{config.tensors.parameters:,} parameters, as its config promises, takes at most {allowed:,}; "
            "nothing was fetched; tell the owner of the repository"
        )
    if not any(Path(path).match("qvec*.safetensors") for path, _ in wanted):
        raise ArtifactError(
            f"{place}: holds {artifact.CONFIG_FILE} but no tensors, so its upload was never finished; "
            "use another revision, or tell the owner of the repository"
        )


def _refuse_corrupted(folder: Path, place: Place) -> None:
    """Raise when a small cached file is not the one its name in the cache says.

    The cache names files by what the Hub announced: the git SHA-1 of a small file, the SHA-256 of a large one.
    Tensors are checked later, against the hash in the config.
    """
    for name in (artifact.CONFIG_FILE, artifact.INDEX_FILE, artifact.LINEAGE_FILE):
        path = folder / name
        if not path.is_symlink():
            continue  # absent, or a cache without links, which keeps no hash
        announced = path.readlink().name
        if not path.exists():
            raise ArtifactError(f"{path}: its content is gone from the cache{way_out(place)}")
        content = path.read_bytes() if path.stat().st_size <= _SMALL_FILE else b""
        if re.fullmatch("[0-9a-f]{40}", announced):
            found = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        elif re.fullmatch("[0-9a-f]{64}", announced):
            found = hashlib.sha256(content).hexdigest()
        else:
            continue  # not the Hub's own servers; no hash was announced
        if found != announced:
            raise ArtifactError(
                f"{path}: is corrupted: the Hub announced the hash {announced[:12]}…, the file has {found[:12]}…"
                f"{way_out(place)}"
            )
