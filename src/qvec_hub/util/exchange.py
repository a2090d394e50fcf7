"""Exchange a folder for a new one in one step, where that is possible and changes nothing else."""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

__all__ = ["carry_over", "exchange", "may_exchange", "resemble"]

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def may_exchange(place: Path) -> bool:
    """Whether a folder may be exchanged for another as a whole, as far as can be told beforehand."""
    if not place.exists():
        return True
    if not sys.platform.startswith("linux") or place.is_mount() or place.parent == place:
        return False
    if place.stat().st_dev != place.parent.stat().st_dev:
        return False
    if not all(os.access(path, os.W_OK | os.X_OK) for path in (place, place.parent)):
        return False
    with suppress(OSError):
        here = Path(os.path.realpath(Path.cwd()))
        if here == place or place in here.parents:
            return False
    with suppress(OSError):
        if any(not name.startswith("security.") for name in os.listxattr(place)):  # access lists of users and groups
            return False
    return not any(path.is_dir() and not path.is_symlink() for path in place.iterdir())


def resemble(new: Path, place: Path) -> bool:
    """Give a new folder owner, group and mode of an existing one, and say whether it has them."""
    if not place.exists():
        return True
    wanted = place.stat()
    with suppress(OSError):
        os.chown(new, wanted.st_uid, wanted.st_gid)
        new.chmod(stat.S_IMODE(wanted.st_mode) | 0o700)
    found = new.stat()
    return (found.st_mode, found.st_uid, found.st_gid) == (wanted.st_mode, wanted.st_uid, wanted.st_gid)


def carry_over(old: Path, new: Path, stale: Collection[str]) -> bool:
    """Hard-link into the new folder what stays of the old one; False when that is not possible."""
    if not old.exists():
        return True
    written = {path.name for path in new.iterdir()}
    try:
        for entry in old.iterdir():
            if entry.name not in written and entry.name not in stale:
                os.link(entry, new / entry.name, follow_symlinks=False)  # fails for a folder, made meanwhile
    except OSError:
        return False
    return True


def exchange(new: Path, place: Path, known: Collection[str]) -> bool:
    """Swap two folders in one step, where the system can (Linux renameat2), and say whether that was done.

    Args:
        known: names of files that the new folder replaces or leaves out; what somebody wrote meanwhile under another
            name is brought along.
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is None:
        return False
    paths = _AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(place)
    if renameat2(*paths, ctypes.c_uint(_RENAME_EXCHANGE)) != 0:
        return False
    _bring_back(new, place, known)
    return True


def _bring_back(old: Path, place: Path, known: Collection[str]) -> None:
    """Move to the new folder what somebody wrote into the old one while it was being replaced."""
    for path in old.iterdir():
        there = place / path.name
        if path.name not in known and not (os.path.lexists(there) and there.lstat().st_ino == path.lstat().st_ino):
            with suppress(OSError):
                path.replace(there)
