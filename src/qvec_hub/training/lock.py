"""One training at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import PartialState
from filelock import FileLock, Timeout

from ..errors import QVecError

__all__ = ["alone_in"]

LOCK = ".training.lock"  # only there while a training runs


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Lock a folder, creating it if needed; among the processes of one training the main one holds the lock.

    Raises:
        QVecError: when another training holds the lock, or the folder cannot be created or written to.
    """
    if not PartialState().is_main_process:
        yield
        return
    lock = FileLock(out / LOCK, timeout=0)
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise QVecError(
            f"folder '{out}': another training is writing to it; wait for its end, or choose another folder"
        ) from None
    except NotImplementedError:
        yield  # this file system knows no locks
        return
    except OSError as error:
        raise QVecError(f"folder '{out}': cannot be made or written to ({error}); choose another") from error
    try:
        yield
    finally:
        (out / LOCK).unlink(missing_ok=True)
        lock.release()
