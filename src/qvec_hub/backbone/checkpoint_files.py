"""Find the files of a transformers checkpoint in a folder, or fetch them from the Hub, before transformers reads them.

transformers then gets a folder, if need be one in the cache, and never talks to the Hub: timeouts, errors and offline
mode are handled here and in `hub.transfer`, as for vectors.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import _CACHED_NO_EXIST, constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from ..errors import ArtifactError, HubError, first_line
from ..hub.transfer.client import LIBRARY, hub_errors
from ..hub.transfer.repo_path import RepoPath, find_source
from ..util.untrusted import printable, size_of

__all__ = ["HUB_KEYS", "Checkpoint", "find_checkpoint", "place_in_cache", "read_config"]

HUB_KEYS = ("revision", "subfolder", "token", "cache_dir", "local_files_only", "force_download")
MAX_CONFIG_BYTES = 64 << 20  # with the names of very many classes
MAX_SHARDS = 10_000
AGAIN = "fetch or save the checkpoint again"
EXPECTED = "expected a folder or a Hub repo id with config.json and model.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Where a checkpoint lies.

    Attributes:
        said: the user's name for it, for messages.
        folder: absolute path of its files, in the cache if they are from the Hub.
        place: repository and commit; None for a local folder.
        get: fetches another file of the checkpoint; returns None when there is no such file.
    """

    said: str
    folder: Path
    place: RepoPath | None
    get: Callable[[str], Path | None]

    @property
    def name(self) -> str:
        """The name of a model from here: a repo id or an absolute folder."""
        return self.place.repo_id if self.place else str(self.folder)

    @property
    def commit(self) -> str | None:
        """The commit of the repository; None for a local folder."""
        return self.place.revision if self.place else None

    def weights(self, variant: str | None = None) -> list[Path]:
        """The checkpoint's safetensors files, fetched if they are not local.

        Raises:
            ArtifactError: when there are none, or they are no regular files.
            HubError: when the Hub refuses or is not reached.
        """
        infix = f".{variant}" if variant else ""
        single, index = f"model{infix}.safetensors", f"model.safetensors.index{infix}.json"
        path = self.get(single)
        if path is not None:
            return [_regular(path)]
        listing = self.get(index)
        if listing is None:
            other = next((name for name in _UNREAD if (self.folder / name).exists()), None)
            found = f"found {other} instead" if other else "no such file"
            raise ArtifactError(
                f"{self.said}: {single} is missing or unreadable ({found}); only intact safetensors files are read"
            )
        return [_regular(self._shard(name)) for name in _shards(listing)]

    def _shard(self, name: str) -> Path:
        path = self.get(name)
        if path is None:
            raise ArtifactError(f"{self.said}: {name} is missing, but the checkpoint's index names it; fetch it again")
        return path


_UNREAD = (
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    "flax_model.msgpack",
    "model.safetensors",
)


def find_checkpoint(source: str | os.PathLike[str], **hub: Any) -> Checkpoint:
    """Find a checkpoint in a folder or on the Hub, and fetch its config.json; see `find_source` for the spelling.

    Args:
        hub: revision, subfolder, token, cache_dir, local_files_only, force_download.

    Raises:
        ArtifactError: when there is none.
        HubError: when the Hub refuses or is not reached, and the cache does not hold it.
    """
    found = find_source(source, hub.pop("revision", None), hub.pop("subfolder", None))
    said = str(source)
    if isinstance(found, Path):
        return _in_folder(said, found)
    options = {key: value for key, value in hub.items() if value is not None}
    options["local_files_only"] = options.get("local_files_only", False) or constants.HF_HUB_OFFLINE
    config = _fetch(said, found, "config.json", options)
    if config is None:
        raise ArtifactError(f"{said}: no transformers model config could be read (no config.json there); {EXPECTED}")
    place = place_in_cache(config)
    if place is None:
        raise HubError(f"{said}: the cache does not say which commit {config} belongs to; clear it with `hf cache rm`")
    _refuse_adapter(said, config.parent)
    pinned = RepoPath(found.repo_id, place.revision, found.subfolder)
    return Checkpoint(said, config.parent, pinned, lambda name: _fetch(said, pinned, name, options))


def place_in_cache(path: object) -> RepoPath | None:
    """Repository and commit of a file in the Hub's cache; None for any other file."""
    found = re.search(r"[\\/]models--([^\\/]+)[\\/]snapshots[\\/]([0-9a-f]{40})[\\/](?:(.+)[\\/])?[^\\/]+$", str(path))
    if found is None:
        return None
    return RepoPath(found[1].replace("--", "/"), found[2], found[3].replace("\\", "/") if found[3] else None)


def read_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Read a checkpoint's config.json.

    Raises:
        ArtifactError: when it is not a JSON object.
    """
    path = _regular(checkpoint.folder / "config.json")
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"has {path.stat().st_size:,} bytes, expected at most {MAX_CONFIG_BYTES:,}")
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"expected a JSON object, found {type(values).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{checkpoint.said}: no transformers model config could be read (config.json: "
            f"{printable(first_line(error))}); {EXPECTED}"
        ) from error
    return values


def _in_folder(said: str, folder: Path) -> Checkpoint:
    def get(name: str) -> Path | None:
        return folder / name if os.path.lexists(folder / name) else None

    _refuse_adapter(said, folder)
    if get("config.json") is None:
        raise ArtifactError(f"{said}: no transformers model config could be read (no config.json there); {EXPECTED}")
    return Checkpoint(said, folder, None, get)


def _refuse_adapter(said: str, folder: Path) -> None:
    if os.path.lexists(folder / "adapter_config.json"):  # transformers would load it, or the model that it names
        raise ArtifactError(
            f"{said}: holds an adapter (adapter_config.json), which is not part of the weights; merge it "
            "(peft: merge_and_unload()), save the model to another folder and use that"
        )


def _fetch(said: str, place: RepoPath, name: str, options: dict[str, Any]) -> Path | None:
    """Fetch a file of a repository from the cache or the Hub; None when the repository does not have it."""
    with hub_errors(said, f"{name} could not be fetched from the Hub", cache=options.get("cache_dir")):
        try:
            return Path(
                hf_hub_download(
                    place.repo_id,
                    name,
                    subfolder=place.subfolder,
                    revision=place.revision,
                    etag_timeout=constants.HF_HUB_ETAG_TIMEOUT,
                    **options,
                    **LIBRARY,
                )
            )
        except LocalEntryNotFoundError as error:
            if _is_known_absent(place, name, options):
                return None
            raise error
        except EntryNotFoundError:
            return None


def _is_known_absent(place: RepoPath, name: str, options: dict[str, Any]) -> bool:
    """Whether the cache knows, without the Hub, that a commit does not have a file: weights are whole or in shards."""

    def cached(name: str) -> Any:
        where = {"cache_dir": options.get("cache_dir"), "revision": place.revision}
        return try_to_load_from_cache(place.repo_id, place.inside(name), **where)

    single = re.fullmatch(r"model(\.[^/]+)?\.safetensors", name)
    sharded = single and isinstance(cached(f"model.safetensors.index{single[1] or ''}.json"), str)
    return cached(name) is _CACHED_NO_EXIST or bool(sharded)


def _regular(path: Path) -> Path:
    """The file itself, if it is one that can be opened safely and holds something."""
    size_of(path, advice=AGAIN)
    return path


def _shards(index: Path) -> list[str]:
    try:
        names = sorted(set(json.loads(_regular(index).read_text(encoding="utf-8"))["weight_map"].values()))
        if not names or len(names) > MAX_SHARDS or any(Path(name).name != name for name in names):
            raise ValueError(f"names {len(names)} files, expected file names of this folder, at most {MAX_SHARDS}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(
            f"{index}: not an index of safetensors files ({printable(first_line(error))}); {AGAIN}"
        ) from error
    return names
