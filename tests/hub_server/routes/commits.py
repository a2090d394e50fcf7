"""Routes that change files: what to upload how, and the commit itself."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import discussions
from ..changes import Change, apply, check_path, parse
from ..context import Context, answer, base_url, context, flag, json_body, logged_in, parameter, readable
from ..errors import HubError, bad_request, forbidden, revision_not_found
from ..objects import Commit
from ..store import Repo, User

_LFS_SUFFIXES = """
.7z .arrow .bin .bz2 .ckpt .ftz .gz .h5 .joblib .mlmodel .model .msgpack .npy .npz .onnx .ot .parquet .pb .pickle .pkl
.pt .pth .rar .safetensors .tar .tflite .tgz .wasm .xz .zip .zst
"""
LFS_SUFFIXES = tuple(_LFS_SUFFIXES.split())


async def preupload(request: Request) -> Response:
    hub, repo, body = context(request), readable(request), await json_body(request)
    head = hub.store.resolve(repo, parameter(request, "revision"))
    may_write(repo, logged_in(request), parameter(request, "revision"), flag(request, "create_pr"))
    files = []
    for file in body.get("files", []):
        path = check_path(file.get("path"))
        mode = "lfs" if goes_to_lfs(hub, file) else "regular"
        entry = head.files.get(path)
        oid = None if entry is None else entry.sha256 if entry.lfs else entry.oid
        files.append({"path": path, "uploadMode": mode, "shouldIgnore": False} | ({"oid": oid} if oid else {}))
    return answer({"files": files, "commitOid": head.oid})


def goes_to_lfs(hub: Context, file: dict[str, Any]) -> bool:
    """By its name, its size, or because its first bytes are no text."""
    if str(file.get("path", "")).lower().endswith(LFS_SUFFIXES) or int(file.get("size", 0)) > hub.lfs_threshold:
        return True
    try:
        sample = base64.b64decode(str(file.get("sample", "")), validate=True)
    except binascii.Error as error:
        raise bad_request(f"the sample is not base64: {error}") from error
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        return error.end < len(sample) or b"\0" in sample  # the sample may end inside a character
    return b"\0" in sample


def may_write(repo: Repo, user: User, revision: str, create_pr: bool) -> None:
    """Owners write everywhere, anybody may propose a change and go on writing to it.

    Raises:
        HubError: 403.
    """
    number = revision.removeprefix("refs/pr/")
    mine = any(str(each["num"]) == number and each["author"]["name"] == user.name for each in repo.discussions)
    if not (create_pr or user.owns(repo.id) or (revision.startswith("refs/pr/") and mine)):
        raise forbidden(f"you don't have the rights to write to {repo.id}; pass create_pr=1 to propose the change")


async def commit(request: Request) -> Response:
    hub, user, revision = context(request), logged_in(request), parameter(request, "revision")
    change = parse(await request.body())
    with hub.store.lock:
        repo = readable(request)
        may_write(repo, user, revision, flag(request, "create_pr"))
        ref = revision if revision.startswith("refs/pr/") else f"refs/heads/{revision}"
        if ref not in repo.refs:
            raise revision_not_found(revision)
        if flag(request, "create_pr"):
            made, number = _propose(hub, repo, ref, change, user)
        else:
            made, number = _push(hub, repo, ref, change, user), None
    url = f"{base_url(request)}/{repo.path}"
    found = {"success": True, "commitUrl": f"{url}/commit/{made.oid}", "commitOid": made.oid, "hookOutput": ""}
    if number is not None:
        found["pullRequestUrl"] = f"{url}/discussions/{number}"
    return answer(found)


def _push(hub: Context, repo: Repo, ref: str, change: Change, user: User) -> Commit:
    store, head = hub.store, repo.refs[ref]
    if change.parent is not None and not head.startswith(change.parent):
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    made = _write(hub, repo, head, change, user)
    changes: dict[str, Any] = {"refs": {**repo.refs, ref: made.oid}}
    if ref.startswith("refs/pr/"):
        request = next(each for each in repo.discussions if f"refs/pr/{each['num']}" == ref)
        events = [*request["events"], discussions.commit_event(made, made.date)]
        changes["discussions"] = discussions.replaced(repo, {**request, "events": events})
    hub.summaries.of(store.update(repo, **changes), made)
    return made


def _propose(hub: Context, repo: Repo, ref: str, change: Change, user: User) -> tuple[Commit, int]:
    parent = repo.refs[ref] if change.parent is None else hub.store.resolve(repo, change.parent).oid
    made = _write(hub, repo, parent, change, user)
    events = [discussions.comment(user.name, made.date, change.message), discussions.commit_event(made, made.date)]
    request = discussions.start(repo, change.title, user.name, made.date, events, True, "open")
    request |= {"base": parent}
    refs = {**repo.refs, f"refs/pr/{request['num']}": made.oid}
    hub.store.update(repo, refs=refs, discussions=discussions.replaced(repo, request))
    return made, int(request["num"])


def _write(hub: Context, repo: Repo, parent: str, change: Change, user: User) -> Commit:
    files = apply(hub.store, hub.store.commit(repo, parent).files, change, repo.kind, parent)
    return hub.store.write_commit(repo, files, (parent,), change.title, change.message, user.name)


def routes(api: str) -> list[Route]:
    return [
        Route(f"{api}/preupload/{{revision}}", preupload, methods=["POST"]),
        Route(f"{api}/commit/{{revision}}", commit, methods=["POST"]),
    ]
