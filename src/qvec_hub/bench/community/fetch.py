"""Fetching the files of rows of a results repository at one commit, within bounds.

Nothing in it is executed, and no file outside the paths of `paths` is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile

from ...hub.cards.front_matter import hub_id
from ...hub.transfer.client import hub_errors
from ...hub.transfer.download import NoBar
from ...hub.transfer.repo_path import RepoPath
from ...util.untrusted import printable
from .paths import CONTEXT, ROWS, TAG, RowsPath, read_path
from .read_rows import Rejection

__all__ = ["File", "find_repositories", "pinned", "read_files"]

MAX_REPOSITORIES = 1000  # with the tag; anybody can set it
MAX_ENTRIES = 20_000  # files and folders of a repository
MAX_BYTES = {ROWS: 32 << 20, CONTEXT: 4 << 20}  # of one file; a row has about 700


class File(NamedTuple):
    """A submitted file. `where` is its place for messages; up to its last slash, all files of a submitter share it."""

    where: str
    stored: RowsPath
    content: bytes


def find_repositories(api: HfApi) -> Iterator[RepoPath | Rejection]:
    """Find dataset repositories tagged `TAG`, each at its current commit; a `Rejection` replaces those over the limit.

    Raises:
        HubError: when the Hub's listing cannot be read.
    """
    listing = "the list of results repositories"
    with hub_errors(listing, "could not be fetched from the Hub"):
        found = list(islice(api.list_datasets(filter=TAG, expand=["sha"]), MAX_REPOSITORIES + 1))
    yield from (RepoPath(info.id, info.sha) for info in found[:MAX_REPOSITORIES] if hub_id(info.id) and info.sha)
    if len(found) > MAX_REPOSITORIES:
        yield Rejection(listing, f"has more than {MAX_REPOSITORIES:,}; the rest was not read, so name those you want")


def pinned(api: HfApi, place: RepoPath) -> RepoPath:
    """Resolve a repository's revision to its current commit.

    Raises:
        HubError: when the repository or its revision does not exist.
    """
    with hub_errors(place, "could not be looked up on the Hub"):
        info: Any = api.dataset_info(place.repo_id, revision=place.revision, expand=["sha"])
    return RepoPath(place.repo_id, info.sha)


def read_files(api: HfApi, place: RepoPath, budget: int) -> Iterator[File | Rejection]:
    """Read the files of rows and contexts, up to `budget` bytes; a `Rejection` replaces a file that is left out.

    Raises:
        HubError: when the repository cannot be read.
    """
    with hub_errors(place, "could not be listed"):
        entries = list(
            islice(
                api.list_repo_tree(place.repo_id, recursive=True, revision=place.revision, repo_type="dataset"),
                MAX_ENTRIES + 1,
            )
        )
    at = f"{place.repo_id}@{(place.revision or '')[:12]}"
    if len(entries) > MAX_ENTRIES:
        yield Rejection(at, f"holds more than {MAX_ENTRIES:,} files and folders; the rest was not read")
    for entry in entries[:MAX_ENTRIES]:
        if not isinstance(entry, RepoFile) or not entry.path.endswith((ROWS, CONTEXT)):
            continue
        where, stored = f"{at}/{printable(entry.path)}", read_path(entry.path)
        if stored is None:
            if entry.path.endswith(ROWS):
                yield Rejection(where, "expected rows at rows/<user>/<suite>-<16 hex digits>.jsonl; it was not read")
        elif entry.size > MAX_BYTES[stored.suffix]:
            limit = MAX_BYTES[stored.suffix]
            yield Rejection(where, f"expected at most {limit:,} bytes, found {entry.size:,}; it was not fetched")
        elif entry.size > budget:
            yield Rejection(where, "too much was fetched before it; name fewer repositories")
        else:
            budget -= entry.size
            yield _read(api, place, entry.path, where, stored)


def _read(api: HfApi, place: RepoPath, path: str, where: str, stored: RowsPath) -> File | Rejection:
    with hub_errors(place, f"{path} could not be fetched"):
        local = api.hf_hub_download(place.repo_id, path, revision=place.revision, repo_type="dataset", tqdm_class=NoBar)
    limit = MAX_BYTES[stored.suffix]
    try:
        with Path(local).open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        return Rejection(where, f"its copy {local} cannot be read ({error.strerror})")
    if len(content) > limit:
        return Rejection(where, f"expected at most {limit:,} bytes, found more than the Hub announced")
    if not stored.holds(content):
        return Rejection(
            where, f"its content is not what was submitted: expected a SHA-256 that begins with {stored.digest}"
        )
    return File(where, stored, content)
