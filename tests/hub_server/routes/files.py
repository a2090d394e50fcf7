"""Routes that read files: trees, paths, and the contents themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from ..context import Context, answer, context, flag, paged, parameter, readable, user_of
from ..describe import iso
from ..errors import entry_not_found, gated
from ..objects import Commit, Entry, folder_ids, pointer
from ..store import Repo
from .lfs import storage_address

COUNTED = ("config.json", "qvec_config.json")  # a download of one of these counts as a download of the repository


async def tree(request: Request) -> Response:
    hub, repo = context(request), readable(request)
    commit = hub.store.resolve(repo, parameter(request, "revision"))
    folder = parameter(request, "path").strip("/") if "path" in request.path_params else ""
    below = f"{folder}/" if folder else ""
    folders = folder_ids(commit.files)
    if folder not in folders:
        raise entry_not_found(folder, commit.oid)
    paths = [path for path in (*commit.files, *folders) if path.startswith(below) and path not in ("", folder)]
    if not flag(request, "recursive"):
        paths = [path for path in paths if "/" not in path.removeprefix(below)]
    page, headers = paged(request, sorted(set(paths)), hub.page_size)
    items = _items(hub, repo, commit, folders, page, flag(request, "expand"))
    return answer(items, headers={**headers, "X-Repo-Commit": commit.oid})


async def paths_info(request: Request) -> Response:
    hub, repo = context(request), readable(request)
    commit = hub.store.resolve(repo, parameter(request, "revision"))
    form = parse_qs((await request.body()).decode())
    folders = folder_ids(commit.files)
    known = [path for path in form.get("paths", []) if path and (path in commit.files or path in folders)]
    expand = form.get("expand", [""])[0].lower() in ("1", "true")
    return answer(_items(hub, repo, commit, folders, known, expand))


def _items(
    hub: Context, repo: Repo, commit: Commit, folders: Mapping[str, str], paths: Iterable[str], expand: bool
) -> list[dict[str, Any]]:
    items = []
    for path in paths:
        item = _file(path, commit.files[path]) if path in commit.files else _folder(path, folders[path])
        items.append(item | ({"lastCommit": _last_commit(hub, repo, commit, path)} if expand else {}))
    return items


def _file(path: str, entry: Entry) -> dict[str, Any]:
    item: dict[str, Any] = {"type": "file", "oid": entry.oid, "size": entry.size, "path": path}
    if entry.lfs:
        size = len(pointer(entry.sha256, entry.size))
        item["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": size}
    return item


def _folder(path: str, oid: str) -> dict[str, Any]:
    return {"type": "directory", "oid": oid, "size": 0, "path": path}


def _last_commit(hub: Context, repo: Repo, commit: Commit, path: str) -> dict[str, Any]:
    """The newest commit that changed a file, or anything in a folder."""

    def content(each: Commit) -> dict[str, Entry]:
        return {key: entry for key, entry in each.files.items() if key == path or key.startswith(f"{path}/")}

    found, wanted = commit, content(commit)
    for each in hub.store.history(repo, commit):
        if content(each) != wanted:
            break
        found = each
    return {"id": found.oid, "title": found.title, "date": iso(found.date)}


async def resolve(request: Request) -> Response:
    """A file's content; that of a large file is elsewhere, and its headers here tell hash and size."""
    hub, repo, user = context(request), readable(request), user_of(request)
    commit = hub.store.resolve(repo, parameter(request, "revision"))
    path = parameter(request, "path")
    entry = commit.files.get(path)
    if entry is None:
        raise entry_not_found(path, commit.oid)
    if not repo.open_to(user):
        raise gated(repo.id, user.name if user else None)
    if request.method == "GET" and path in COUNTED:
        with hub.store.lock:
            repo = hub.store.repos[repo.kind, repo.id]
            hub.store.update(repo, downloads=repo.downloads + 1)
    headers = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
    if entry.lfs:
        headers |= {"X-Linked-Etag": f'"{entry.sha256}"', "X-Linked-Size": str(entry.size)}
        location = storage_address(hub, repo, entry.sha256, path)
        return Response("Found", 302, {**headers, "Location": location})
    return FileResponse(
        hub.store.blob(entry.sha256),
        headers={**headers, "ETag": f'"{entry.oid}"'},
        media_type="text/plain; charset=utf-8",
    )


def routes(api: str, page: str) -> list[Route]:
    return [
        Route(f"{api}/tree/{{revision}}", tree, methods=["GET"]),
        Route(f"{api}/tree/{{revision}}/{{path:path}}", tree, methods=["GET"]),
        Route(f"{api}/paths-info/{{revision}}", paths_info, methods=["POST"]),
        Route(f"{page}/resolve/{{revision}}/{{path:path}}", resolve, methods=["GET"]),
    ]
