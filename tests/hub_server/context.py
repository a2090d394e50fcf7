"""What every route starts with: the hub behind a request, who asks, and for which repository."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from .describe import Summaries, View
from .errors import HubError, bad_request, forbidden, login_required, repo_not_found
from .objects import Commit
from .store import Repo, Store, User


@dataclass(frozen=True)
class Upload:
    """An upload that the LFS batch route has allowed: what must arrive. `parts` are complete parts by number."""

    repo: Repo
    sha256: str
    size: int
    parts: dict[int, Any] = field(default_factory=dict)


@dataclass
class Context:
    """The running hub: its state, its options, and what it only keeps in memory."""

    store: Store
    page_size: int
    lfs_threshold: int
    part_size: int
    storage_url: str
    summaries: Summaries = field(init=False)
    uploads: dict[str, Upload] = field(default_factory=dict)
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    def __post_init__(self) -> None:
        self.summaries = Summaries(self.store)

    def view(self, repo: Repo, commit: Commit, blobs: bool = False) -> View:
        return View(self.store, self.summaries, repo, commit, blobs)

    def signature(self, text: str) -> str:
        """Proves that a storage address was given out by this server."""
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()[:32]


def context(request: Request) -> Context:
    found: Context = request.app.state.context
    return found


def parameter(request: Request, name: str) -> str:
    """A part of the path, decoded: routes match the path as it was sent, so that %2F stays inside a part."""
    return unquote(request.path_params[name])


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(value), status, headers, media_type="application/json")


def base_url(request: Request) -> str:
    return f"http://{request.headers['host']}"


async def json_body(request: Request) -> dict[str, Any]:
    try:
        value = await request.json()
    except ValueError as error:
        raise bad_request(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise bad_request("the body must be a JSON object")
    return value


def user_of(request: Request) -> User | None:
    """The user who asks, or None without a token.

    Raises:
        HubError: 401 for a token nobody has.
    """
    header = request.headers.get("authorization")
    if header is None:
        return None
    user = context(request).store.user_of(header.removeprefix("Bearer "))
    if user is None:
        raise HubError(401, "Invalid credentials in Authorization header")
    return user


def logged_in(request: Request) -> User:
    user = user_of(request)
    if user is None:
        raise login_required()
    return user


def repo_kind(request: Request) -> str:
    parts = request.scope["path"].split("/")[1:3]
    return "dataset" if parts[0] == "datasets" or parts == ["api", "datasets"] else "model"


def readable(request: Request) -> Repo:
    """The repository of the path, for those who may know of it.

    Raises:
        HubError: RepoNotFound, also for a private repository of somebody else.
    """
    user = user_of(request)
    key = (repo_kind(request), f"{parameter(request, 'owner')}/{parameter(request, 'name')}")
    repo = context(request).store.repos.get(key)
    if repo is None or not repo.visible_to(user):
        raise repo_not_found()
    return repo


def writable(request: Request) -> Repo:
    """The repository of the path, for those who may change it.

    Raises:
        HubError: RepoNotFound, 401 without a token, 403 for other users.
    """
    repo = readable(request)
    if not logged_in(request).owns(repo.id):
        raise forbidden(f"you don't have the rights to write to {repo.id}")
    return repo


def flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in ("1", "true")


def number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdigit():
        raise bad_request(f'"{name}" must be a whole number, found {text!r}')
    return int(text)


def paged(request: Request, items: Sequence[Any], size: int) -> tuple[Sequence[Any], dict[str, str]]:
    """One page of a list that does not change, and the header that names the next one."""
    start = number(request, "cursor", 0)
    end = start + size
    return items[start:end], next_link(request, str(end)) if end < len(items) else {}


def next_link(request: Request, cursor: str) -> dict[str, str]:
    query = [(key, value) for key, value in request.query_params.multi_items() if key != "cursor"]
    path = f"{base_url(request)}{request.scope['path']}?{urlencode([*query, ('cursor', cursor)])}"
    return {"Link": f'<{path}>; rel="next"'}
