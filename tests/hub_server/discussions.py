"""Discussions and pull requests as the repository keeps them: JSON objects, a change being a new object."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Mapping
from typing import Any

from .describe import iso
from .objects import Commit, Entry, pointer
from .store import Repo, Store

Discussion = dict[str, Any]


def event(kind: str, author: str, time: float, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": secrets.token_hex(12),
        "type": kind,
        "createdAt": iso(time),
        "author": {"name": author, "type": "user"},
        "data": data,
    }


def comment(author: str, time: float, text: str) -> dict[str, Any]:
    latest = {"raw": text, "html": f"<p>{text}</p>", "updatedAt": iso(time), "author": {"name": author}}
    return event("comment", author, time, {"edited": False, "hidden": False, "latest": latest, "history": []})


def commit_event(commit: Commit, time: float) -> dict[str, Any]:
    return event("commit", commit.author, time, {"oid": commit.oid, "subject": commit.title})


def status_change(author: str, time: float, status: str) -> dict[str, Any]:
    return event("status-change", author, time, {"status": status})


def start(
    repo: Repo, title: str, author: str, time: float, events: list[dict[str, Any]], pull_request: bool, status: str
) -> Discussion:
    return {
        "num": 1 + max((each["num"] for each in repo.discussions), default=0),
        "title": title,
        "author": {"name": author, "type": "user"},
        "createdAt": iso(time),
        "status": status,
        "isPullRequest": pull_request,
        "mergeCommitId": None,
        "base": None,  # commit the pull request started from
        "events": events,
    }


def replaced(repo: Repo, changed: Discussion) -> list[Discussion]:
    """The repository's discussions with one of them in its new state, or added."""
    others = [each for each in repo.discussions if each["num"] != changed["num"]]
    return sorted([*others, changed], key=lambda each: int(each["num"]))


def outline(repo: Repo, discussion: Discussion) -> dict[str, Any]:
    found = {key: discussion[key] for key in ("num", "title", "author", "createdAt", "status", "isPullRequest")}
    return found | {"repo": {"name": repo.id, "type": repo.kind}}


def changed_paths(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> set[str]:
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def diff(store: Store, before: Mapping[str, Entry], after: Mapping[str, Entry]) -> str:
    """A unified diff; an LFS file is its pointer, as in git."""
    pieces: list[str] = []
    for path in sorted(changed_paths(before, after)):
        old, new = (_lines(store, files.get(path)) for files in (before, after))
        pieces.append(f"diff --git a/{path} b/{path}")
        pieces += difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", lineterm="")
    return "\n".join(pieces)


def _lines(store: Store, entry: Entry | None) -> list[str]:
    if entry is None:
        return []
    data = pointer(entry.sha256, entry.size) if entry.lfs else store.read(entry)
    return data.decode("utf-8", "replace").splitlines()
