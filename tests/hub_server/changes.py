"""A commit request: lines of JSON, read, checked, and applied to a tree of files."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import HubError, bad_request
from .metadata import validate
from .objects import Entry, lfs_entry, regular_entry
from .store import Store


@dataclass(frozen=True)
class Change:
    """What one request does: its header, and (kind, value) for every operation."""

    title: str
    message: str
    parent: str | None
    operations: list[tuple[str, dict[str, Any]]]


def parse(body: bytes) -> Change:
    """A commit's body, newline-delimited JSON, the first line being the header.

    Raises:
        HubError: 400 for anything else.
    """
    lines: list[tuple[str, dict[str, Any]]] = []
    for number, line in enumerate(body.splitlines(), 1):
        try:
            item = json.loads(line)
            lines.append((str(item["key"]), dict(item["value"])))
        except (ValueError, KeyError, TypeError) as error:
            raise bad_request(f"line {number} of the commit is not an operation: {error}") from error
    if not lines or lines[0][0] != "header" or not lines[0][1].get("summary"):
        raise bad_request("a commit starts with a header with a summary")
    header = lines[0][1]
    parent = header.get("parentCommit")
    if parent is not None and not isinstance(parent, str):
        raise bad_request("parentCommit must be a commit id")
    return Change(str(header["summary"]), str(header.get("description") or ""), parent, lines[1:])


def apply(store: Store, files: Mapping[str, Entry], change: Change, kind: str, head: str) -> dict[str, Entry]:
    """The files after all operations; contents of regular files are stored on the way.

    Raises:
        HubError: when any operation cannot be done; then none counts.
    """
    after = dict(files)
    for key, value in change.operations:
        if key not in _OPERATIONS:
            raise bad_request(f"unknown operation {key!r}")
        _OPERATIONS[key](store, after, value, head)
    folders = {path[:i] for path in after for i, letter in enumerate(path) if letter == "/"}
    both = sorted(folders & after.keys())
    if both:
        raise bad_request(f"{both[0]} cannot be a file and a folder")
    readme = after.get("README.md")
    if readme is not None and readme != files.get("README.md"):
        errors, _ = validate(store.read(readme).decode("utf-8", "replace"), kind)
        if errors:
            body = {"error": "Invalid metadata in README.md", "errors": [{"message": error} for error in errors]}
            raise HubError(400, "Invalid metadata in README.md", body=body)
    return after


def check_path(path: Any) -> str:
    """A path inside a repository, as it may be written to.

    Raises:
        HubError: 400 for what is absolute, climbs up, has empty parts, or touches .git.
    """
    if not isinstance(path, str) or not path:
        raise bad_request("a path must be a non-empty string")
    parts = path.split("/")
    if any(part in ("", ".", "..", ".git") for part in parts) or "\\" in path or not path.isprintable():
        raise bad_request(f"invalid path {path!r}: expected a plain path inside the repository")
    return path


def _add_file(store: Store, after: dict[str, Entry], value: dict[str, Any], head: str) -> None:
    path, content = check_path(value.get("path")), value.get("content")
    if not isinstance(content, str):
        raise bad_request(f"{path}: the content is missing")
    try:
        data = base64.b64decode(content, validate=True) if value.get("encoding") == "base64" else content.encode()
    except binascii.Error as error:
        raise bad_request(f"{path}: {error}") from error
    store.put(data)
    after[path] = regular_entry(data)


def _add_lfs(store: Store, after: dict[str, Entry], value: dict[str, Any], head: str) -> None:
    path, sha256 = check_path(value.get("path")), str(value.get("oid"))
    blob = store.blob(sha256) if sha256.isalnum() else None
    if value.get("algo") != "sha256" or blob is None or not blob.is_file():
        raise bad_request(f"{path}: the LFS object {sha256} was never uploaded")
    size = blob.stat().st_size
    if value.get("size", size) != size:
        raise bad_request(f"{path}: the LFS object has {size} bytes, the commit says {value['size']}")
    after[path] = lfs_entry(sha256, size)


def _delete_file(store: Store, after: dict[str, Entry], value: dict[str, Any], head: str) -> None:
    path = str(value.get("path"))
    if path not in after:
        message = f"A file with this name doesn't exist: {path}"
        raise HubError(404, message, "EntryNotFound", {"X-Repo-Commit": head})
    del after[path]


def _delete_folder(store: Store, after: dict[str, Entry], value: dict[str, Any], head: str) -> None:
    folder = str(value.get("path")).rstrip("/") + "/"
    inside = [path for path in after if path.startswith(folder)]
    if not inside:
        message = f"A folder with this name doesn't exist: {folder}"
        raise HubError(404, message, "EntryNotFound", {"X-Repo-Commit": head})
    for path in inside:
        del after[path]


_OPERATIONS = {
    "file": _add_file,
    "lfsFile": _add_lfs,
    "deletedFile": _delete_file,
    "deletedFolder": _delete_folder,
}
