"""Small files of many repositories: fetched side by side, bounded in size, and never fatal when one is broken."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import GatedRepoError
from huggingface_hub.utils.tqdm import silent_tqdm

from ..artifact.config import CONFIG_FILE, LINEAGE_FILE, MAX_CONFIG_BYTES, VectorConfig
from ..artifact.tensor_files import MAX_LINEAGE_BYTES, read_lineage
from ..errors import ArtifactError, HubError, QVecError
from ..hub.cards.front_matter import hub_id
from ..hub.transfer.client import LIBRARY, hub_errors
from ..hub.transfer.repo_path import RepoPath
from ..util.untrusted import parse_json, printable, read_file
from .listing import ListedVector

__all__ = ["fetch", "open_configs", "open_sketches"]

WORKERS = 8
BATCH = 40  # files; when the Hub gives none of a whole batch, no more are requested

Item = TypeVar("Item")
Got = TypeVar("Got")


def fetch(place: RepoPath, name: str, token: str | bool | None, limit: int) -> Path:
    """Fetch a small file from the Hub, or from the cache if it holds the file of this commit.

    Raises:
        HubError: when the Hub refuses or is not reached.
        ArtifactError: when the file has more than `limit` bytes; it is then not fetched.
    """
    options: dict[str, Any] = {"revision": place.revision, "token": token, "tqdm_class": silent_tqdm, **LIBRARY}
    with hub_errors(name, "could not be fetched"):
        announced = hf_hub_download(place.repo_id, place.inside(name), dry_run=True, **options)
        if announced.file_size > limit:
            raise ArtifactError(f"{name}: has {announced.file_size:,} bytes, expected at most {limit:,}")
        if announced.is_cached and Path(announced.local_path).exists():
            return Path(announced.local_path)
        return Path(hf_hub_download(place.repo_id, place.inside(name), **options))


def open_configs(vectors: Sequence[ListedVector], token: str | bool | None) -> list[ListedVector]:
    """Read the vectors' configs and add their values; a vector whose config cannot be used says why in `broken`.

    A gated vector that this user cannot read stays as its card describes it.
    """
    opened: list[ListedVector] = []
    for batch, paths in _batches(vectors, lambda v: fetch(v.place, CONFIG_FILE, token, MAX_CONFIG_BYTES)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # keys of an untrusted config that this version does not know
            opened += [_opened(vector, path) for vector, path in zip(batch, paths, strict=True)]
    for vector in vectors[len(opened) :]:
        reason = f"{CONFIG_FILE}: not asked for, since the Hub gave none of {BATCH} others"
        opened.append(replace(vector, broken=reason, unreachable=True))
    return opened


def open_sketches(vectors: Sequence[ListedVector], token: str | bool | None) -> list[dict[str, Any] | None]:
    """The base fingerprint of each vector; None for those without a readable one."""

    def sketch(vector: ListedVector) -> dict[str, Any] | None:
        return read_lineage(fetch(vector.place, LINEAGE_FILE, token, MAX_LINEAGE_BYTES), None)

    found = [got for _, batch in _batches(vectors, sketch) for got in batch]
    sketches = [None if isinstance(got, QVecError) else got for got in found]
    return sketches + [None] * (len(vectors) - len(sketches))


def _batches(
    items: Sequence[Item], get: Callable[[Item], Got]
) -> Iterator[tuple[Sequence[Item], list[Got | QVecError]]]:
    """Yield items and their results batch by batch; stop when the Hub gives nothing of a whole batch."""

    def attempt(item: Item) -> Got | QVecError:
        try:
            return get(item)
        except QVecError as error:
            return error

    if not items:
        return
    with ThreadPoolExecutor(WORKERS) as pool:
        for start in range(0, len(items), BATCH):
            batch = items[start : start + BATCH]
            got = list(pool.map(attempt, batch))
            yield batch, got
            if all(isinstance(each, HubError) and not _is_closed(each) for each in got):
                return


def _is_closed(error: QVecError) -> bool:
    """Whether the owner must grant access first."""
    return isinstance(error.__cause__, GatedRepoError)


def _opened(vector: ListedVector, path: Path | QVecError) -> ListedVector:
    if isinstance(path, QVecError):
        if _is_closed(path):
            return replace(vector, gated=True)
        return replace(vector, broken=_reason(path), unreachable=isinstance(path, HubError))
    try:
        config = VectorConfig.from_dict(parse_json(read_file(path, MAX_CONFIG_BYTES), CONFIG_FILE), CONFIG_FILE)
    except ArtifactError as error:
        return replace(vector, broken=_reason(error))
    return _agreed(vector, config)


def _agreed(listed: ListedVector, config: VectorConfig) -> ListedVector:
    """Combine card and config: the config fills gaps, and a different base or grid makes the vector broken."""
    assert config.tensors is not None
    base = hub_id(config.base_model.repo_id)
    for what, card, said in [("base", listed.base_model, base), ("grid", listed.grid, config.grid.name)]:
        if listed.told and card and said and card != said:
            return replace(listed, broken=f"its card says {what} {card}, its {CONFIG_FILE} {said}")
    return replace(
        listed,
        task=config.donor.task or listed.task,
        dataset=config.donor.dataset or listed.dataset,
        base_model=base or listed.base_model,
        of_base=config.of_base,
        grid=config.grid.name,
        scale=config.scale,
        parameters=config.tensors.parameters,
        verified=True,
    )


def _reason(error: QVecError) -> str:
    return printable(" ".join(str(error).split()), 300)
