"""Fetch a vector from the Hub into the shared cache, and verify the files against the announced hashes.

Repositories are untrusted: the listing is checked first, and only files of a vector, in sizes that a vector can have,
are fetched.
"""

from __future__ import annotations

import glob
import hashlib
import re
import shlex
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_cached_repo_tree, snapshot_download
from huggingface_hub.errors import CachedRepoTreeNotFoundError
from huggingface_hub.utils import tqdm

from ...artifact import config as artifact
from ...artifact.config import MAX_CONFIG_BYTES, VectorConfig
from ...artifact.images import MAX_IMAGES_BYTES
from ...artifact.tensor_files import MAX_HEADER_BYTES, MAX_LINEAGE_BYTES, is_shard
from ...errors import ArtifactError, HubError
from .client import LIBRARY, TransportError, disk_advice, http_status, hub_errors
from .repo_path import RepoPath

__all__ = ["NoBar", "fetch_vector", "way_out"]

_LIMITS = {
    artifact.CONFIG_FILE: MAX_CONFIG_BYTES,
    artifact.INDEX_FILE: MAX_HEADER_BYTES,
    artifact.LINEAGE_FILE: MAX_LINEAGE_BYTES,
    artifact.IMAGES_FILE: MAX_IMAGES_BYTES,
}
_OWNER = "tell the owner of the repository"


class NoBar(tqdm):
    """The client's progress bar, never shown."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "disable": True})


def fetch_vector(
    place: RepoPath, token: str | bool | None, cache_dir: str | Path | None, local_files_only: bool
) -> tuple[Path, RepoPath]:
    """Fetch a vector from the Hub if needed; returns its folder in the cache and its place at the resolved commit.

    Raises:
        ArtifactError: when the fetched files are not a complete, intact vector.
        HubError: when the Hub refuses or cannot be reached, and the cache does not hold all of it.
    """
    cache = Path(cache_dir or constants.HF_HUB_CACHE).expanduser()
    options = {"token": token, "cache_dir": cache, "local_files_only": local_files_only, **LIBRARY}
    options["etag_timeout"] = constants.HF_HUB_ETAG_TIMEOUT
    cached_before = _blobs(cache, place)
    root = _resolve(place, options)
    pinned = RepoPath(place.repo_id, root.name, place.subfolder)
    files = _files(pinned, cache)
    _refuse_half(place, files)

    def fetch(names: Iterable[str]) -> None:
        paths = [pinned.inside(name) for name in names]
        if not all((root / path).is_file() for path in paths):
            _snapshot(pinned, paths, options, said=place)
        for path in paths:
            _refuse_corrupted(root / path, pinned, cache, cached_before)

    fetch([artifact.CONFIG_FILE])
    config_path = root / pinned.inside(artifact.CONFIG_FILE)
    try:
        config = VectorConfig.read(config_path)
    except ArtifactError as error:
        raise ArtifactError(f"{error}{way_out(pinned, cache_dir)}") from error
    _refuse_oversized(place, config, files)
    fetch(files)
    return config_path.parent, pinned


def way_out(place: RepoPath | None, cache_dir: str | Path | None = None) -> str:
    """Advice for a cached copy that is not intact; empty for a local folder."""
    if place is None:
        return ""
    where = (
        f" --cache-dir {shlex.quote(str(cache_dir))}"
        if cache_dir and Path(cache_dir) != Path(constants.HF_HUB_CACHE)
        else ""
    )
    return (
        f". It is the cached copy of {place.repo_id} and was not used: remove it with `hf cache rm "
        f"model/{place.repo_id}{where}` and load again; if that does not help, {_OWNER}"
    )


def _resolve(place: RepoPath, options: dict[str, Any]) -> Path:
    """The folder of a commit in the cache, its listing fetched; by the cache alone if the Hub cannot be reached."""
    try:
        return _snapshot(place, [], options)
    except HubError as error:
        # The client turns to the cache when there is no connection, but not when there is one that breaks.
        if not isinstance(error.__cause__, TransportError) or http_status(error) is not None:
            raise
        try:
            return _snapshot(place, [], {**options, "local_files_only": True})
        except HubError:
            raise error from error.__cause__


def _snapshot(place: RepoPath, paths: Iterable[str], options: dict[str, Any], said: RepoPath | None = None) -> Path:
    """The folder of a commit in the cache, with these files in it. Raises HubError, of the place as it was said."""
    patterns = [glob.escape(path) for path in paths]
    quiet: dict[str, Any] = {} if patterns else {"tqdm_class": NoBar}  # nothing to fetch, so no progress to show
    with hub_errors(said or place, "could not be fetched from the Hub", cache=options["cache_dir"]):
        return Path(
            snapshot_download(place.repo_id, revision=place.revision, allow_patterns=patterns, **quiet, **options)
        )


def _files(place: RepoPath, cache: Path) -> dict[str, int]:
    """Name -> size of the files of a vector that lie at the place, by the commit's listing.

    Raises:
        HubError: when the cache has no listing, so that it may lack files.
    """
    try:
        listing = get_cached_repo_tree(place.repo_id, revision=place.revision, cache_dir=cache)
    except CachedRepoTreeNotFoundError as error:
        unwritable = _writing_error(cache)
        if unwritable is not None:  # the client says nothing of it
            raise HubError(f"{place}: could not be fetched: {disk_advice(unwritable)}") from unwritable
        raise HubError(
            f"{place}: the Hub was not asked or not reached, and the cache has files but no listing of the commit, so "
            "some may be missing; go online once (HF_HUB_OFFLINE=0, local_files_only=False) or pass a folder"
        ) from error
    if not listing:  # a repository holds its .gitattributes at least
        raise HubError(f"{place}: the Hub listed no files at all{way_out(place, cache)}")
    sizes = {entry.path: entry.size for entry in listing}
    prefix = place.inside("")
    names = {path.removeprefix(prefix): size for path, size in sizes.items() if path.startswith(prefix)}
    sharded = artifact.INDEX_FILE in names
    return {
        name: size
        for name, size in names.items()
        if name in _LIMITS or (is_shard(name) and (name != artifact.TENSOR_FILE) == sharded)
    }


def _writing_error(cache: Path) -> OSError | None:
    """What goes wrong when something is written into the cache; None if nothing does."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache) as file:
            file.write(b"\0" * 4096)
    except OSError as error:
        error.filename = error.filename or str(cache)
        return error
    return None


def _refuse_half(place: RepoPath, files: Mapping[str, int]) -> None:
    if artifact.CONFIG_FILE not in files:
        raise ArtifactError(
            f"{place}: holds no {artifact.CONFIG_FILE}, so it is not a quantization vector; check the name, or name "
            "the folder inside it, as in hf://org/name/folder"
        )
    if not any(is_shard(name) for name in files):
        raise ArtifactError(
            f"{place}: holds {artifact.CONFIG_FILE} but no tensors, so its upload was never finished; "
            f"use another revision, or {_OWNER}"
        )
    for name, limit in _LIMITS.items():
        if files.get(name, 0) > limit:
            raise ArtifactError(
                f"{place}: {name} has {files[name]:,} bytes, expected at most {limit:,}; it was not fetched; {_OWNER}"
            )


def _refuse_oversized(place: RepoPath, config: VectorConfig, files: Mapping[str, int]) -> None:
    """Raise, before tensors are fetched, when their files are larger or more than the config allows."""
    assert config.tensors is not None
    shards = {name: size for name, size in files.items() if is_shard(name)}
    allowed = 4 * config.tensors.parameters + len(shards) * (8 + MAX_HEADER_BYTES)
    if sum(shards.values()) > allowed or len(shards) > config.tensors.count:
        largest = max(shards, key=lambda name: shards[name])
        raise ArtifactError(
            f"{place}: its {len(shards)} tensor files have {sum(shards.values()):,} bytes (the largest, {largest}, "
            f"{shards[largest]:,}), but {config.tensors.count} tensors of {config.tensors.parameters:,} parameters, as "
            f"its config promises, take at most {allowed:,}; they were not fetched; {_OWNER}"
        )


def _refuse_corrupted(path: Path, place: RepoPath, cache: Path, cached_before: set[str]) -> None:
    """Raise when a file in the cache is not the one its name there says, and keep nothing that arrived broken.

    The cache names files by what the Hub announced: the git SHA-1 of a small file, the SHA-256 of a large one.
    Tensors that were there before are checked later, against the hash in the config.
    """
    if not path.is_symlink():
        return  # a cache without links keeps no hash
    announced = path.readlink().name
    fresh = announced not in cached_before
    if is_shard(path.name) and not fresh:
        return
    try:
        found = _hash(path, announced)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}){way_out(place, cache)}") from error
    if found == announced:
        return
    said = f"{path}: is corrupted: the Hub announced the hash {announced[:12]}…, the file has {found[:12]}…"
    if not fresh:
        raise ArtifactError(f"{said}{way_out(place, cache)}")
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    raise HubError(f"{said}; it arrived like that, was not used and not kept; load again")


def _hash(path: Path, announced: str) -> str:
    """A file's hash, of the kind that was announced; that itself where it is of neither kind, so not the Hub's."""
    if re.fullmatch("[0-9a-f]{40}", announced):
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    elif re.fullmatch("[0-9a-f]{64}", announced):
        digest = hashlib.sha256()
    else:
        return announced
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _blobs(cache: Path, place: RepoPath) -> set[str]:
    """Names of the contents that the cache holds of a repository, of whatever commit."""
    folder = cache / f"models--{place.repo_id.replace('/', '--')}" / "blobs"
    try:
        return {path.name for path in folder.iterdir()}
    except OSError:
        return set()  # nothing there yet
