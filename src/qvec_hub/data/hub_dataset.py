"""Read a dataset from the Hub, or from the cache where the Hub does not answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset, DatasetDict

from ..errors import DataError
from ..hub.transfer.ask import hub_status

__all__ = ["dataset_revision", "open_hub"]


def dataset_revision(dataset: Dataset) -> str | None:
    """The commit a dataset from the Hub was read at; None for any other."""
    # The datasets library names the folder of its cached copy after the commit.
    folders = {Path(file["filename"]).parent.name for file in dataset.cache_files}
    commits = {folder for folder in folders if re.fullmatch("[0-9a-f]{40}", folder)}
    return commits.pop() if len(commits) == 1 else None


def open_hub(
    name: str,
    config: str | None,
    revision: str | None,
    token: str | bool | None,
    cache_dir: str | Path | None,
    files: Mapping[str, str] | None = None,
) -> DatasetDict:
    """Read all splits of a Hub dataset; arguments as for ``datasets.load_dataset``.

    Args:
        files: splits to read instead, with a pattern of their files in the repository; nothing else is fetched.

    Raises:
        DataError: when the Hub refuses, or does not answer and the cache holds no copy of this revision.
    """
    arguments: dict[str, Any] = {
        "name": config,
        "revision": revision,
        "token": token,
        "cache_dir": str(cache_dir) if cache_dir else None,
    }
    if files is not None:  # the repository's card counts all of its files
        arguments |= {"data_files": dict(files), "verification_mode": "no_checks"}
    if _reachable(name, revision, token):
        return datasets.load_dataset(name, **arguments)
    # The library itself retries for half a minute before it looks in its cache; told to be offline it looks at once.
    with _offline():
        try:
            loaded = datasets.load_dataset(name, **arguments)
        except ConnectionError as error:
            raise DataError(
                f"dataset {name!r}: expected the Hub to answer or a cached copy, found no connection and nothing in "
                "the cache; go online once (unset HF_HUB_OFFLINE), or pass a local folder or parquet file"
            ) from error
    if revision is not None and any(dataset_revision(split) != revision for split in loaded.values()):
        raise DataError(
            f"dataset {name!r}: expected revision {revision!r}, found no connection and a cached copy of "
            f"{dataset_revision(next(iter(loaded.values())))}; go online once, or pass that commit or no revision"
        )
    return loaded


def _reachable(name: str, revision: str | None, token: str | bool | None) -> bool:
    """Whether the Hub answers; a refusal (no such dataset, not allowed) is raised, not returned."""
    status = hub_status(name, revision, token, "dataset")
    if status not in (None, 200):
        raise DataError(
            f"dataset {name!r}{f' at revision {revision!r}' if revision else ''}: expected a dataset on the Hub, found "
            f"status {status}: it does not exist, or is private or gated; check the id and the revision, and pass a "
            "token"
        )
    return status is not None


@contextmanager
def _offline() -> Iterator[None]:
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
