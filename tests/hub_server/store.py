"""The Hub's state on disk: users, repositories, commits, and file contents by their hash.

    users.json
    blobs/<2 hex>/<sha256>                     contents, of all repositories
    repos/<models|datasets>/<owner>/<name>/
        repo.json                              settings, refs, discussions
        commits/<commit id>.json               one commit with its whole tree

Every file is written under another name and then renamed, and contents and commits before the ``repo.json`` that
refers to them: so a process that dies at any point leaves each repository as it was or as it was to be.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .errors import HubError, revision_not_found
from .objects import Commit, Entry, commit_id, folder_ids

KINDS = {"model": "models", "dataset": "datasets"}
MAIN = "refs/heads/main"
MIN_PREFIX = 7  # hex digits of a commit id that are enough to name it


@dataclass(frozen=True)
class User:
    name: str
    token: str
    orgs: tuple[str, ...] = ()

    def owns(self, repo_id: str) -> bool:
        return repo_id.split("/")[0] in (self.name, *self.orgs)


@dataclass(frozen=True)
class Repo:
    """A repository's settings and refs (full name to commit id). A change is a new object: see `Store.update`."""

    kind: str
    id: str
    created: float
    private: bool = False
    gated: str | bool = False
    downloads: int = 0
    likes: int = 0
    readers: list[str] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)
    discussions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Of its pages below the server's address."""
        return self.id if self.kind == "model" else f"datasets/{self.id}"

    def visible_to(self, user: User | None) -> bool:
        return not self.private or (user is not None and user.owns(self.id))

    def open_to(self, user: User | None) -> bool:
        """Whether the user may read files, which a gated repository lets only some do."""
        return not self.gated or (user is not None and (user.owns(self.id) or user.name in self.readers))


class Store:
    """State below `root`. Methods are safe to call from several threads.

    `on_write` is called with the destination before each file is put in place; a test that lets it raise sees
    what a process killed at that moment leaves behind.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = threading.RLock()
        self.on_write: Callable[[Path], None] = lambda path: None
        self.users: dict[str, User] = {}
        self.repos: dict[tuple[str, str], Repo] = {}
        self._commits: dict[tuple[str, str, str], Commit] = {}
        self._counter = itertools.count()
        self._last = 0.0
        shutil.rmtree(root / "tmp", ignore_errors=True)
        (root / "tmp").mkdir(parents=True)
        self._load()

    def now(self) -> float:
        """Seconds since 1970, later than every time returned before."""
        with self.lock:
            self._last = max(time.time(), self._last + 1e-3)
            return self._last

    # users

    def add_user(self, user: User) -> None:
        with self.lock:
            users = {**self.users, user.name: user}
            self._write(self.root / "users.json", _json([vars(each) for each in users.values()]))
            self.users = users

    def user_of(self, token: str) -> User | None:
        return next((user for user in self.users.values() if user.token == token), None)

    # contents

    def scratch(self) -> Path:
        """A new file name for something that is not complete yet."""
        return self.root / "tmp" / f"{os.getpid()}-{next(self._counter)}"

    def blob(self, sha256: str) -> Path:
        return self.root / "blobs" / sha256[:2] / sha256

    def read(self, entry: Entry) -> bytes:
        return self.blob(entry.sha256).read_bytes()

    def put(self, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.blob(sha256).exists():
            self._write(self.blob(sha256), data)
        return sha256

    def adopt(self, scratch: Path, sha256: str) -> None:
        """Take a complete file over as the content with this hash."""
        self._place(scratch, self.blob(sha256))

    # repositories

    def create(
        self, kind: str, repo_id: str, files: Mapping[str, Entry], title: str, author: str, **settings: Any
    ) -> Repo:
        """A new repository whose main branch is one commit with these files."""
        with self.lock:
            if (kind, repo_id) in self.repos:
                raise HubError(409, f"You already created this {kind} repo: {repo_id}")
            repo = Repo(kind, repo_id, self.now(), **settings)
            commit = self.write_commit(repo, files, (), title, "", author)
            return self._save(replace(repo, refs={MAIN: commit.oid}))

    def update(self, repo: Repo, **changes: Any) -> Repo:
        """Change settings, refs or discussions in one step."""
        with self.lock:
            return self._save(replace(self.repos[repo.kind, repo.id], **changes))

    def delete(self, repo: Repo) -> None:
        with self.lock:
            trash = self.scratch()
            self._folder(repo).rename(trash)
            del self.repos[repo.kind, repo.id]
            self._commits = {key: each for key, each in self._commits.items() if key[:2] != (repo.kind, repo.id)}
            shutil.rmtree(trash)

    # commits

    def write_commit(
        self, repo: Repo, files: Mapping[str, Entry], parents: tuple[str, ...], title: str, message: str, author: str
    ) -> Commit:
        """Store a commit; no ref points to it yet."""
        date = self.now()
        oid = commit_id(folder_ids(files)[""], parents, author, date, f"{title}\n\n{message}")
        commit = Commit(oid, parents, title, message, author, date, dict(files))
        values = {**vars(commit), "files": {path: vars(entry) for path, entry in files.items()}}
        self._write(self._folder(repo) / "commits" / f"{oid}.json", _json(values))
        self._commits[repo.kind, repo.id, oid] = commit
        return commit

    def commit(self, repo: Repo, oid: str) -> Commit:
        key = (repo.kind, repo.id, oid)
        if key not in self._commits:
            values = json.loads((self._folder(repo) / "commits" / f"{oid}.json").read_bytes())
            values["files"] = {path: Entry(**entry) for path, entry in values["files"].items()}
            self._commits[key] = Commit(**{**values, "parents": tuple(values["parents"])})
        return self._commits[key]

    def resolve(self, repo: Repo, revision: str) -> Commit:
        """The commit of a branch, tag, full ref name or commit id (or the start of one).

        Raises:
            HubError: RevisionNotFound.
        """
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if name in repo.refs:
                return self.commit(repo, repo.refs[name])
        if len(revision) >= MIN_PREFIX and set(revision) <= set("0123456789abcdef"):
            found = list((self._folder(repo) / "commits").glob(f"{revision}*.json"))
            if len(found) == 1:
                return self.commit(repo, found[0].stem)
        raise revision_not_found(revision)

    def history(self, repo: Repo, commit: Commit) -> Iterator[Commit]:
        """The commit and its ancestors by first parents, newest first."""
        yield commit
        while commit.parents:
            commit = self.commit(repo, commit.parents[0])
            yield commit

    # files

    def _folder(self, repo: Repo) -> Path:
        return self.root / "repos" / KINDS[repo.kind] / repo.id

    def _save(self, repo: Repo) -> Repo:
        self._write(self._folder(repo) / "repo.json", _json(vars(repo)))
        self.repos[repo.kind, repo.id] = repo
        return repo

    def _write(self, path: Path, data: bytes) -> None:
        scratch = self.scratch()
        scratch.write_bytes(data)
        self._place(scratch, path)

    def _place(self, scratch: Path, path: Path) -> None:
        self.on_write(path)
        try:
            scratch.replace(path)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch.replace(path)

    def _load(self) -> None:
        if (self.root / "users.json").exists():
            for values in json.loads((self.root / "users.json").read_bytes()):
                self.users[values["name"]] = User(values["name"], values["token"], tuple(values["orgs"]))
        for path in (self.root / "repos").glob("*/*/*/repo.json"):
            repo = Repo(**json.loads(path.read_bytes()))
            self.repos[repo.kind, repo.id] = repo


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
