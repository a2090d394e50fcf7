"""Scratch folders of saves: unique, marked as ours, and removed later if a save was killed."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from ..errors import ArtifactError, first_line

try:
    import fcntl
except ImportError:  # not a POSIX system: what a killed save left there stays
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "ENDING_SIGNALS",
    "SCRATCH",
    "check_writable",
    "existing_parent",
    "real_path",
    "remove_dead",
    "scratch_folder",
    "uninterrupted",
]

PREFIX, SUFFIX, UNFINISHED = ".qvec-", ".tmp", ".new"
SCRATCH = f"{PREFIX}????????{SUFFIX}"  # a pattern
MARK = "of-a-qvec-save"  # locked for as long as the save lives
YOUNG_S = 60.0  # a scratch folder without a lock may be one that is just being made
ENDING_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def real_path(target: str | Path) -> Path:
    """The absolute path of a folder, with links followed: what is written goes where they lead.

    Raises:
        ArtifactError: when it is a file, or no path at all.
    """
    try:
        path = Path(os.path.realpath(Path(target).expanduser()))
        if path.exists() and not path.is_dir():
            raise ArtifactError(f"{target}: is a file; expected a folder to write to")
    except (OSError, ValueError, RuntimeError) as error:  # too long, with a NUL, or of a user who does not exist
        raise ArtifactError(f"{target}: cannot be written ({first_line(error)}); name another folder") from error
    return path


def existing_parent(target: str | Path) -> Path:
    """The folder where `target` is to be made: itself, or the nearest parent that exists.

    Raises:
        ArtifactError: as `real_path`.
    """
    place = real_path(target)
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    return place


def check_writable(target: str | Path) -> None:
    """Refuse a folder that cannot be written to, before anything is computed; leaves no file behind.

    Args:
        target: the folder, which need not exist: then it must be possible to make it.

    Raises:
        ArtifactError: naming the folder and what the system says.
    """
    place = existing_parent(target)
    try:
        Path(tempfile.mkdtemp(prefix=PREFIX, suffix=UNFINISHED, dir=place)).rmdir()
    except OSError as error:
        raise ArtifactError(
            f"{target}: cannot be written ({place}: {error.strerror or first_line(error)}); nothing was changed. Make "
            "it writable, or name another folder"
        ) from error


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A new hidden folder inside `parent`, which vanishes with all it holds when the block ends.

    Raises:
        OSError: when `parent` cannot be written to.
    """
    remove_dead(parent)
    scratch, lock = Path(tempfile.mkdtemp(prefix=PREFIX, suffix=UNFINISHED, dir=parent)), -1
    try:
        if fcntl is not None:
            lock = os.open(scratch / MARK, os.O_RDWR | os.O_CREAT, 0o600)
            with suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            scratch = scratch.rename(scratch.with_suffix(SUFFIX))  # from now on others may ask whether it is in use
        yield scratch
    finally:
        with uninterrupted():
            _remove(scratch)
            if lock >= 0:
                os.close(lock)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and requests to end wait until the block is through: it takes milliseconds."""
    caught: list[int] = []

    def later(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    before = {}
    if threading.current_thread() is threading.main_thread():  # no other gets signals
        before = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
        before = {number: old for number, old in before.items() if callable(old) or old == signal.SIG_DFL}
    try:
        for number in before:
            signal.signal(number, later)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
        for number in dict.fromkeys(caught):
            signal.raise_signal(number)


def remove_dead(parent: Path) -> None:
    """Remove the scratch folders of saves that were killed; one that is locked belongs to a save that is running."""
    if fcntl is None:
        return
    with suppress(OSError):
        for path in parent.glob(f"{PREFIX}????????{UNFINISHED}"):
            if time.time() - path.lstat().st_mtime > YOUNG_S:
                (path / MARK).unlink(missing_ok=True)
                path.rmdir()  # holds nothing else, or it is not ours
    for path in parent.glob(SCRATCH):
        with suppress(OSError):
            lock = os.open(path / MARK, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(lock)


def _remove(scratch: Path) -> None:
    """Remove a scratch folder, and last of all what marks it as ours."""
    with suppress(OSError):
        for path in scratch.iterdir():
            if path.name != MARK:
                shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(scratch, ignore_errors=True)
