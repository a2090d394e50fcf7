"""What a save may replace or remove in a folder: the files that it writes, and those that an earlier save wrote.

How an earlier save's files are told is for each kind of folder to say. A file that nothing tells of, or that has
changed since, is somebody's own: it stays, and is not taken for a part of what was saved.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ArtifactError
from .scratch import SCRATCH
from .untrusted import parse_json, read_file

__all__ = ["JOURNAL", "Earlier", "Layout", "listed", "parse_listed", "unchanged"]

JOURNAL = "journal.json"  # in a scratch folder: what is being put beside it
MAX_JOURNAL_BYTES = 1 << 20
HASHED_BYTES = 64 << 20  # of a larger file the size alone is compared


def _nothing(folder: Path) -> Collection[str]:
    return ()


def _anything(folder: Path, overwrite: bool) -> None:
    return None


@dataclass(frozen=True)
class Layout:
    """How a kind of folder tells what in it is of an earlier save.

    Attributes:
        config: the file that makes a folder one of this kind, if there is one: without it no loader takes the folder
            for one.
        shared: files that a save writes into without losing what others wrote there.
        removable: names of files in a folder that can only be an earlier save's, and that a loader would read.
        replaceable: names of more files that a new save may write over.
        refuse: raises ArtifactError when the folder holds something else, unless told to write over it.
    """

    config: str | None = None
    shared: Collection[str] = ()
    removable: Callable[[Path], Collection[str]] = _nothing
    replaceable: Callable[[Path], Collection[str]] = _nothing
    refuse: Callable[[Path, bool], None] = _anything


class Earlier:
    """What lies in the folder that a save is to go to.

    Args:
        folder: which need not exist.
        overwrite: whether to write over files of others that have the names of this save's.

    Raises:
        ArtifactError: when the folder holds something else.
    """

    def __init__(self, folder: Path, layout: Layout, overwrite: bool = False) -> None:
        layout.refuse(folder, overwrite)
        self.folder, self.layout, self.overwrite = folder, layout, overwrite
        interrupted = _interrupted(folder)
        self.removable = {*layout.removable(folder), *unchanged(folder, interrupted)}
        self.replaceable = {*self.removable, *layout.replaceable(folder), *layout.shared, *interrupted}

    def refuse(self, names: Iterable[str]) -> None:
        """Raise ArtifactError when files of these names cannot be written without losing somebody's own."""
        for name in names:
            path = self.folder / name
            if path.is_dir() and not path.is_symlink():
                raise ArtifactError(f"{path}: is a folder where a file has to go; nothing was changed. Move it away")
            if os.path.lexists(path) and not self.overwrite and name not in self.replaceable:
                raise ArtifactError(
                    f"{path}: is not of an earlier save, and would be replaced; nothing was changed. Move it away, or "
                    "name another folder"
                )

    def stale(self, names: Collection[str]) -> set[str]:
        """Files of earlier saves that a save of these names leaves without meaning."""
        there = {name for name in self.removable if os.path.lexists(self.folder / name)}
        return {name for name in there - {*names, *self.layout.shared} if not (self.folder / name).is_dir()}


def listed(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """File name -> what its content looks like, for `unchanged` to compare."""
    return {name: _fingerprint(folder / name) for name in names}


def unchanged(folder: Path, files: Mapping[str, str]) -> set[str]:
    """Those of the listed files that are there and look as they did."""
    found = set()
    for name, known in files.items():
        with suppress(OSError):
            if _fingerprint(folder / name) == known:
                found.add(name)
    return found


def parse_listed(data: bytes, where: object) -> dict[str, str] | None:
    """What `listed` gave, out of a file that may hold anything; None when it is not that."""
    with suppress(ArtifactError):
        files: Any = parse_json(data, where)
        if isinstance(files, dict) and all(isinstance(known, str) for known in files.values()):
            return {name: known for name, known in files.items() if _is_plain(name)}
    return None


def _is_plain(name: str) -> bool:
    return name == os.path.basename(name) and name not in ("", ".", "..")  # noqa: PTH119


def _interrupted(folder: Path) -> dict[str, str]:
    """What saves that were killed while they replaced files in the folder had begun to put there."""
    found: dict[str, str] = {}
    for path in folder.glob(f"{SCRATCH}/{JOURNAL}"):
        with suppress(ArtifactError):
            found |= parse_listed(read_file(path, MAX_JOURNAL_BYTES), path) or {}
    return found


def _fingerprint(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        raise FileNotFoundError(path)
    size = path.stat().st_size
    if size > HASHED_BYTES:
        return str(size)
    return f"{size}-{hashlib.sha256(path.read_bytes()).hexdigest()}"
