"""Writing a folder, or one text file, so that a crash leaves the old content or the new, never half of either."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ArtifactError

__all__ = ["new_folder", "write_text"]

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def new_folder(target: str | Path, owned: Callable[[str], bool]) -> Iterator[Path]:
    """A scratch folder that takes the place of `target` when the block ends well, and vanishes when it does not.

    Files of `target` that the caller does not own (a README, a .git) are carried over.

    Raises:
        ArtifactError: when `target` is a file, or the place cannot be written to.
    """
    target = Path(target).expanduser().absolute()
    if target.exists() and not target.is_dir():
        raise ArtifactError(f"{target}: is a file; expected a folder to write to")
    scratch: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
        scratch.chmod(0o777 & ~_umask())
        yield scratch
        if target.exists():
            _carry_over(target, scratch, owned)
        _sync(scratch)
        _put_in_place(scratch, target)
    except OSError as error:
        raise ArtifactError(f"{target}: cannot be written ({error}); nothing there was changed") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file beside its place and move it there."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _carry_over(old: Path, new: Path, owned: Callable[[str], bool]) -> None:
    """Hard-link (or copy) into the new folder what the caller does not own."""
    for entry in old.iterdir():
        copy = new / entry.name
        if owned(entry.name) or copy.exists():
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, copy, symlinks=True, copy_function=_link)
        else:
            _link(str(entry), str(copy))


def _link(source: str, copy: str) -> None:
    try:
        os.link(source, copy, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, copy, follow_symlinks=False)


def _put_in_place(scratch: Path, target: Path) -> None:
    if not target.exists():
        scratch.rename(target)
    elif not _exchange(scratch, target):
        # No atomic exchange here: the old folder stands beside under a visible name for an instant.
        aside = target.with_name(f"{target.name}.old")
        shutil.rmtree(aside, ignore_errors=True)
        target.rename(aside)
        scratch.rename(target)
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step, where the system can (Linux renameat2)."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(
        renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE)) == 0
    )


def _sync(folder: Path) -> None:
    for path in [*folder.iterdir(), folder]:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
