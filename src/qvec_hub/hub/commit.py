"""One commit to a repository in the Hub: everything in it or nothing, also when the connection breaks."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile

from ..errors import HubError
from ..remote import Place, TransportError, hub_errors

__all__ = ["Destination", "commit", "open_destination"]

ATTEMPTS = 3
WAIT_S = 2.0  # before the second attempt; doubled before the third


@dataclass(frozen=True)
class Destination:
    """A branch of a repository as it was when we looked: its head, and the hash of every file at the place."""

    place: Place  # always with its full repo id
    head: str | None  # None: no commit yet
    files: Mapping[str, str]  # path in the repository -> sha256 (large files) or git SHA-1 (small ones)
    private: bool


def open_destination(api: HfApi, place: Place, private: bool | None, create_pr: bool) -> Destination:
    """Create the repository and the branch where they do not exist, and look at what is there.

    Raises:
        HubError: when it may not be created or written to, or is public and `private` was asked for.
    """
    with hub_errors(place, "could not be opened for writing", "nothing was uploaded"):
        repo_id = api.create_repo(place.repo_id, private=private, exist_ok=True).repo_id
        place = Place(repo_id, place.revision, place.subfolder)
        if place.revision and not create_pr and not place.revision.startswith("refs/"):
            api.create_branch(repo_id, branch=place.revision, exist_ok=True)
        visible = not api.model_info(repo_id, expand=["private"]).private
    if private and visible:
        raise HubError(
            f"{repo_id}: is a public repository, but private=True was asked for; nothing was uploaded. Make it "
            "private in its settings, or choose another name"
        )
    with hub_errors(place, "could not be looked at", "nothing was uploaded"):
        return _look(api, place, not visible)


def commit(
    api: HfApi,
    there: Destination,
    files: Mapping[str, Path | bytes],
    message: str,
    *,
    stale: Sequence[str] = (),
    create_pr: bool = False,
) -> CommitInfo:
    """Upload `files` (path in the repository -> file or content) and delete `stale` ones, in one commit.

    Refused by the Hub when its head moved since we looked. What an attempt has transferred, the next one skips.

    Raises:
        HubError: when it did not come about; the repository is then as it was.
    """

    def landed() -> CommitInfo | None:
        return None if create_pr else _landed(api, there, files, message)

    with ExitStack() as opened:

        def attempt(by_handle: bool) -> CommitInfo:
            additions = [CommitOperationAdd(path, _content(file, by_handle, opened)) for path, file in files.items()]
            return api.create_commit(
                there.place.repo_id,
                [*additions, *(CommitOperationDelete(path) for path in stale)],
                commit_message=message,
                revision=there.place.revision,
                create_pr=create_pr,
                parent_commit=there.head,
            )

        unfinished = "look at its pull requests before you try again" if create_pr else "the repository is as it was"
        with hub_errors(there.place, "could not be pushed", unfinished):
            return _persist(attempt, landed)


def _persist(attempt: Callable[[bool], CommitInfo], landed: Callable[[], CommitInfo | None]) -> CommitInfo:
    """Try again where that can help. An answer that was lost is not a commit that was lost: look before repeating."""
    by_handle, wait = False, WAIT_S
    for left in reversed(range(ATTEMPTS)):
        try:
            return attempt(by_handle)
        except (TransportError, OSError, RuntimeError) as error:
            unsure = _status(error) is None or (_status(error) or 0) >= 500
            if unsure and (done := landed()) is not None:
                return done
            if not unsure or not left:
                raise
            by_handle = True  # past the chunk storage, whose service may be missing or not reachable
        time.sleep(wait)
        wait *= 2
    raise AssertionError("unreachable")


def _status(error: BaseException) -> int | None:
    """The HTTP status of the answer that an error, or what caused it, is about."""
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, HfHubHTTPError):
            return current.response.status_code
        current = current.__cause__
    return None


def _content(file: Path | bytes, by_handle: bool, opened: ExitStack) -> Any:
    """What the client uploads. It sends open files by plain HTTP (Git LFS), paths by its chunk storage if installed."""
    if not by_handle:
        return file if isinstance(file, bytes) else str(file)
    return io.BytesIO(file) if isinstance(file, bytes) else opened.enter_context(file.open("rb"))


def _look(api: HfApi, place: Place, private: bool) -> Destination:
    try:
        head = api.model_info(place.repo_id, revision=place.revision, expand=["sha"]).sha
    except (RevisionNotFoundError, EntryNotFoundError):
        head = None
    return Destination(place, head, _hashes(api, place, head) if head else {}, private)


def _hashes(api: HfApi, place: Place, head: str) -> dict[str, str]:
    try:
        entries = list(api.list_repo_tree(place.repo_id, place.subfolder, revision=head))
    except EntryNotFoundError:
        return {}  # no such folder yet, or nothing committed
    files = [entry for entry in entries if isinstance(entry, RepoFile)]
    return {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in files}


def _landed(api: HfApi, there: Destination, files: Mapping[str, Path | bytes], message: str) -> CommitInfo | None:
    """The commit, if the branch now holds exactly our files: it was made, and only the answer got lost."""
    try:
        now = _look(api, there.place, there.private)
    except (TransportError, OSError):
        return None  # still unreachable
    if now.head is None or now.head == there.head:
        return None
    if any(now.files.get(path) not in _hashes_of(file) for path, file in files.items()):
        return None
    url = f"{api.endpoint}/{there.place.repo_id}/commit/{now.head}"
    return CommitInfo(commit_url=url, commit_message=message, commit_description="", oid=now.head)


def _hashes_of(file: Path | bytes) -> tuple[str, str]:
    """sha256 and git SHA-1 of a file."""
    size = len(file) if isinstance(file, bytes) else file.stat().st_size
    plain, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with io.BytesIO(file) if isinstance(file, bytes) else file.open("rb") as stream:
        while block := stream.read(1 << 20):
            plain.update(block)
            git.update(block)
    return plain.hexdigest(), git.hexdigest()
