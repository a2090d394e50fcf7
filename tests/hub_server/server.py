"""The hub as a running server: two loopback addresses, one for the Hub and one for its file storage."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .app import application
from .changes import check_path
from .context import Context
from .errors import HubError
from .faults import Fault, Faults, Record
from .objects import Entry, lfs_entry, regular_entry
from .routes.commits import LFS_SUFFIXES
from .store import MAIN, Store, User

HOST = "127.0.0.1"
STOP_SECONDS = 10


class _Protocol(H11Protocol):
    """Hands each request the connection it came on, so that a fault can cut it."""

    def connection_made(self, transport: Any) -> None:
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


def _listening(port: int) -> socket.socket:
    # asyncio sends answers without delay only on sockets that say they are TCP; others cost 40 ms an answer.
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((HOST, port))
    found.listen()
    return found


class HubServer:
    """A Hub on loopback whose state lives below `root`; serves from its creation until `stop`.

    Args:
        root: a new folder, or one an earlier server has used.
        port: of the Hub's address; 0 takes a free one.
        page_size: entries on a page of a listing.
        lfs_threshold: files with more bytes than this go to LFS, whatever they are.
        part_size: LFS files with more bytes than this are uploaded in parts of so many.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        port: int = 0,
        page_size: int = 1000,
        lfs_threshold: int = 10 * 1000**2,
        part_size: int = 1000**3,
    ) -> None:
        self.store = Store(Path(root))
        # Like the real Hub's, the storage is another origin: the client must not send its token there.
        self._sockets = [_listening(each) for each in (port, 0)]
        self.url, self.storage_url = (f"http://{HOST}:{each.getsockname()[1]}" for each in self._sockets)
        self.context = Context(self.store, page_size, lfs_threshold, part_size, self.storage_url)
        self._faults = Faults(application(self.context))
        config = uvicorn.Config(
            self._faults,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=(self._sockets,), name="hub-server", daemon=True)
        self._thread.start()

    def __enter__(self) -> HubServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close all connections and wait for the thread to end.

        Raises:
            RuntimeError: when it does not within some seconds.
        """
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            raise RuntimeError(f"the hub at {self.url} did not stop within {STOP_SECONDS} seconds")

    def add_user(self, name: str, token: str | None = None, orgs: tuple[str, ...] = ()) -> User:
        user = User(name, f"hf_{name}" if token is None else token, tuple(orgs))
        self.store.add_user(user)
        return user

    def seed(
        self,
        repo_id: str,
        files: Mapping[str, bytes],
        *,
        private: bool = False,
        gated: str | bool = False,
        downloads: int = 0,
        likes: int = 0,
        message: str = "Add files",
        repo_type: str = "model",
        raw_names: bool = False,
    ) -> str:
        """Commit files straight into the state, without HTTP; a missing repository is made with exactly these.

        Settings other than the defaults change an existing repository, too. With `raw_names` file names are not
        checked, so that a client can be shown a hostile listing.

        Returns:
            the commit id.
        """
        entries = {path: self._entry(path if raw_names else check_path(path), data) for path, data in files.items()}
        settings = {"private": private, "gated": gated, "downloads": downloads, "likes": likes}
        author = repo_id.split("/")[0]
        with self.store.lock:
            repo = self.store.repos.get((repo_type, repo_id))
            if repo is None:
                repo = self.store.create(repo_type, repo_id, entries, message, author, **settings)
            else:
                head = self.store.commit(repo, repo.refs[MAIN])
                after = {**head.files, **entries}
                made = self.store.write_commit(repo, after, (head.oid,), message, "", author)
                changed = {key: value for key, value in settings.items() if value}
                repo = self.store.update(repo, refs={**repo.refs, MAIN: made.oid}, **changed)
            oid = repo.refs[MAIN]
            self.context.summaries.of(repo, self.store.commit(repo, oid))
        return oid

    def _entry(self, path: str, data: bytes) -> Entry:
        sha256 = self.store.put(data)
        large = len(data) > self.context.lfs_threshold or path.lower().endswith(LFS_SUFFIXES)
        return lfs_entry(sha256, len(data)) if large and data else regular_entry(data)

    def tag(self, repo_id: str, name: str, commit: str | None = None, *, repo_type: str = "model") -> None:
        """Point a tag at a commit (default: the head of main) without HTTP."""
        with self.store.lock:
            repo = self.store.repos[repo_type, repo_id]
            oid = commit or repo.refs[MAIN]
            self.store.update(repo, refs={**repo.refs, f"refs/tags/{name}": oid})

    def files(self, repo_id: str, revision: str = "main", *, repo_type: str = "model") -> dict[str, bytes]:
        """All files of a commit, without HTTP.

        Raises:
            KeyError: when there is no such repository, or revision.
        """
        repo = self.store.repos[repo_type, repo_id]
        try:
            commit = self.store.resolve(repo, revision)
        except HubError as error:
            raise KeyError(revision) from error
        return {path: self.store.read(entry) for path, entry in commit.files.items()}

    @property
    def requests(self) -> list[Record]:
        """Every request since the start or `clear_requests`, in the order they came."""
        return list(self._faults.records)

    def clear_requests(self) -> None:
        self._faults.records = []  # an exchange that still goes on keeps the old list

    def inject(self, *faults: Fault) -> None:
        """Add rules; the first that takes a request is the one that hits it."""
        self._faults.rules.extend(faults)

    def clear_faults(self) -> None:
        self._faults.rules.clear()
