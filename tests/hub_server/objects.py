"""What a commit holds, and git's names (SHA-1) for it: files, large-file pointers, folders, commits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A file of a commit. `oid` is git's id: of the content, or of the pointer when the content is in LFS."""

    oid: str
    size: int
    sha256: str
    lfs: bool


@dataclass(frozen=True)
class Commit:
    """One commit with its whole tree. `date` is in seconds since 1970, UTC."""

    oid: str
    parents: tuple[str, ...]
    title: str
    message: str
    author: str
    date: float
    files: Mapping[str, Entry]


def object_id(kind: str, data: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """The text git stores in the place of a file whose content is in LFS."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def regular_entry(data: bytes) -> Entry:
    return Entry(object_id("blob", data), len(data), hashlib.sha256(data).hexdigest(), lfs=False)


def lfs_entry(sha256: str, size: int) -> Entry:
    return Entry(object_id("blob", pointer(sha256, size)), size, sha256, lfs=True)


def folder_ids(files: Mapping[str, Entry]) -> dict[str, str]:
    """Git's tree id of every folder, the root being ``""``."""
    children: dict[str, dict[bytes, bytes]] = {"": {}}
    for path, entry in files.items():
        folder, _, name = path.rpartition("/")
        children.setdefault(folder, {})[name.encode()] = _line("100644", name, entry.oid)
        while folder:
            folder = folder.rpartition("/")[0]
            children.setdefault(folder, {})
    ids: dict[str, str] = {}
    for folder in sorted(children, key=lambda path: (path != "", path.count("/")), reverse=True):
        lines = children[folder]
        ids[folder] = object_id("tree", b"".join(lines[key] for key in sorted(lines)))
        if folder:
            above, _, name = folder.rpartition("/")
            # Git sorts a folder as if its name ended in a slash.
            children[above][name.encode() + b"/"] = _line("40000", name, ids[folder])
    return ids


def commit_id(tree: str, parents: tuple[str, ...], author: str, date: float, text: str) -> str:
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {author} {date:.6f}", "", text]
    return object_id("commit", "\n".join(lines).encode())


def _line(mode: str, name: str, oid: str) -> bytes:
    return f"{mode} {name}\0".encode() + bytes.fromhex(oid)
