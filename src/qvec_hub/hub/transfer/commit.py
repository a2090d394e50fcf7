"""Make one commit to a Hub repository: all files or none, also when the connection breaks."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile

from ...errors import HubError
from .client import Talk, TransportError, http_status, hub_errors
from .repo_path import RepoPath

__all__ = ["Destination", "StoredFile", "commit", "find_destination", "open_destination", "same_content"]

ATTEMPTS = 3
WAIT_S = 2.0  # before the second attempt; doubled before the third
UNTOUCHED = "nothing was uploaded"
_PASSING = (408, 429)  # refusals that time heals
_COMMIT = re.compile("[0-9a-f]{40}")


class StoredFile(NamedTuple):
    """A file in the repository; its hash is the SHA-256 of a large file and the git SHA-1 of a small one."""

    hash: str
    size: int


@dataclass(frozen=True)
class Destination:
    """The state of a branch before the commit: its head, and the files directly in the folders that were read."""

    place: RepoPath  # always with its full repo id
    head: str | None  # None: no commit yet
    files: Mapping[str, StoredFile]  # by path in the repository
    private: bool
    repo_type: str = "model"

    @property
    def page(self) -> str:
        """Of the repository, below the Hub's address."""
        return self.place.repo_id if self.repo_type == "model" else f"{self.repo_type}s/{self.place.repo_id}"


def open_destination(api: HfApi, place: RepoPath, private: bool | None, create_pr: bool) -> Destination:
    """Create the repository and the branch if they do not exist, and read their state.

    Raises:
        HubError: when it may not be created or written to, or is public and `private` was asked for.
    """
    if place.revision and _COMMIT.fullmatch(place.revision):
        raise HubError(f"{place}: is a commit, which cannot change; name a branch to push to")
    with hub_errors(place, "could not be opened for writing", UNTOUCHED):
        repo_id = api.create_repo(place.repo_id, private=private, exist_ok=True).repo_id
        visible = not api.model_info(repo_id, expand=["private"]).private
    if private and visible:
        raise HubError(
            f"{repo_id}: is a public repository, but private=True was asked for; {UNTOUCHED}. Make it private in its "
            "settings, or choose another name"
        )
    place = RepoPath(repo_id, place.revision, place.subfolder)
    with hub_errors(place, "could not be looked at", UNTOUCHED):
        if place.revision and not create_pr and not place.revision.startswith("refs/"):
            api.create_branch(repo_id, branch=place.revision, exist_ok=True)
        try:
            head = api.model_info(repo_id, revision=place.revision, expand=["sha"]).sha
        except (RevisionNotFoundError, EntryNotFoundError):
            if place.revision:
                raise
            head = None  # the Hub says this of a repository without a commit
        files = _files(api, repo_id, "model", head, [place.subfolder]) if head else {}
        return Destination(place, head, files, not visible)


def find_destination(
    api: HfApi, place: RepoPath, repo_type: str = "model", folders: Sequence[str | None] = (None,)
) -> Destination:
    """Read the state of an existing repository, with the files directly in these folders (None: its root).

    Raises:
        HubError: when there is none, or it cannot be read.
    """
    wanted: Any = ["private", "sha"]
    with hub_errors(place, "could not be looked at", UNTOUCHED):
        found: Any = api.repo_info(place.repo_id, repo_type=repo_type, revision=place.revision, expand=wanted)
        files = _files(api, place.repo_id, repo_type, found.sha, folders)
        return Destination(place, found.sha, files, bool(found.private), repo_type)


def commit(
    api: HfApi,
    there: Destination,
    files: Mapping[str, Path],
    message: str,
    *,
    description: str | None = None,
    stale: Sequence[str] = (),
    create_pr: bool = False,
) -> CommitInfo:
    """Upload `files` (path in the repository -> file) and delete `stale` ones, in one commit; none if nothing changes.

    Refused by the Hub when its head moved since we looked. What an attempt has transferred, the next one skips.

    Raises:
        HubError: when it did not come about; the repository is then as it was, or the message says that we cannot
            tell.
    """
    changed = {path: file for path, file in files.items() if not same_content(file, there.files.get(path))}
    if there.head and not changed and not stale:
        return _info(api, there, there.head, message)

    def attempt(by_handle: bool) -> CommitInfo:
        with ExitStack() as opened:
            additions = [
                CommitOperationAdd(path, opened.enter_context(file.open("rb")) if by_handle else str(file))
                for path, file in changed.items()
            ]
            return api.create_commit(
                there.place.repo_id,
                [*additions, *(CommitOperationDelete(path, is_folder=False) for path in stale)],
                commit_message=message,
                commit_description=description,
                repo_type=there.repo_type,
                revision=there.place.revision,
                create_pr=create_pr,
                parent_commit=there.head,
            )

    def made() -> CommitInfo | None:
        look = _made_request if create_pr else _made_commit
        return look(api, there, changed, stale, message)

    with hub_errors(there.place, "could not be pushed", "the repository is as it was") as talk:
        return _persist(attempt, made, talk)


def _persist(attempt: Callable[[bool], CommitInfo], made: Callable[[], CommitInfo | None], talk: Talk) -> CommitInfo:
    """Try again where that can help. An answer that was lost is no commit that was lost, so look before repeating.

    Args:
        attempt: makes the commit, given whether to hand over open files: the client sends those by plain HTTP (Git
            LFS), and paths through its chunk storage where that is installed.
        made: looks for the commit in the repository.
    """
    by_handle, wait = False, WAIT_S
    for left in reversed(range(ATTEMPTS)):
        try:
            try:
                return attempt(by_handle)
            except Exception as error:
                if by_handle or not _is_of_chunk_storage(error):
                    raise
                by_handle = True  # this hub has none, or it cannot be reached: nothing is wrong with plain HTTP
                return attempt(by_handle)
        except Exception as error:
            status = http_status(error)
            done = None
            # A plain refusal leaves no doubt, but for the one by which a moved head is known: we may have moved it.
            if status is None or status >= 500 or status in (409, 412):
                done = _look(made, talk)
            if done is not None:
                return done
            if not left or (status is not None and status < 500 and status not in _PASSING):
                raise
        time.sleep(wait)
        wait *= 2
    raise AssertionError("unreachable")


def _look(made: Callable[[], CommitInfo | None], talk: Talk) -> CommitInfo | None:
    try:
        done = made()
    except Exception:
        talk.state = "whether it has changed is not known, for it could not be looked at: do so before you push again"
        return None
    talk.state = "the repository does not have the commit"
    return done


def _is_of_chunk_storage(error: BaseException) -> bool:
    """The chunk storage's client is no HTTP client of Python's: it raises plain OSErrors and RuntimeErrors."""
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, TransportError):
            return False
        current = current.__cause__
    return isinstance(error, (OSError, RuntimeError))


def _made_commit(
    api: HfApi, there: Destination, files: Mapping[str, Path], stale: Sequence[str], message: str
) -> CommitInfo | None:
    """Our commit, if the branch went on from where we looked with exactly our changes."""
    oid = _successor(api, there, there.place.revision)
    return _info(api, there, oid, message) if oid and _holds(api, there, oid, files, stale) else None


def _made_request(
    api: HfApi, there: Destination, files: Mapping[str, Path], stale: Sequence[str], message: str
) -> CommitInfo | None:
    """The open pull request, if there is one that makes exactly our changes to where we looked."""
    newest = api.get_repo_discussions(
        there.place.repo_id, repo_type=there.repo_type, discussion_type="pull_request", discussion_status="open"
    )
    for request in islice(newest, 20):
        oid = _successor(api, there, f"refs/pr/{request.num}")
        if oid and _holds(api, there, oid, files, stale):
            return _info(api, there, oid, message, f"{api.endpoint}/{there.page}/discussions/{request.num}")
    return None


def _successor(api: HfApi, there: Destination, revision: str | None) -> str | None:
    """The first commit of a branch after the one that we saw."""
    found = None
    for each in api.list_repo_commits(there.place.repo_id, repo_type=there.repo_type, revision=revision):
        if each.commit_id == there.head:
            return found
        found = each.commit_id
    return None if there.head else found


def _holds(api: HfApi, there: Destination, oid: str, files: Mapping[str, Path], stale: Sequence[str]) -> bool:
    folders = {path.rpartition("/")[0] or None for path in [*files, *stale]}
    now = _files(api, there.place.repo_id, there.repo_type, oid, folders)
    return all(same_content(file, now.get(path)) for path, file in files.items()) and not now.keys() & set(stale)


def _info(api: HfApi, there: Destination, oid: str, message: str, pr_url: str | None = None) -> CommitInfo:
    url = f"{api.endpoint}/{there.page}/commit/{oid}"
    return CommitInfo(commit_url=url, commit_message=message, commit_description="", oid=oid, pr_url=pr_url)


def _files(api: HfApi, repo_id: str, repo_type: str, head: str, folders: Iterable[str | None]) -> dict[str, StoredFile]:
    found: dict[str, StoredFile] = {}
    for folder in folders:
        try:
            entries = list(api.list_repo_tree(repo_id, folder, revision=head, repo_type=repo_type))
        except EntryNotFoundError:
            continue  # no such folder yet
        for entry in entries:
            if isinstance(entry, RepoFile):
                found[entry.path] = StoredFile(entry.lfs.sha256 if entry.lfs else entry.blob_id, entry.size)
    return found


def same_content(file: Path, stored: StoredFile | None) -> bool:
    """Whether a file is what the repository has."""
    if stored is None or file.stat().st_size != stored.size:
        return False
    digest: Any = hashlib.sha256()
    if len(stored.hash) == 40:
        digest = hashlib.sha1(b"blob %d\0" % stored.size, usedforsecurity=False)
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return bool(digest.hexdigest() == stored.hash)
