"""Room on the disk, asked for before long work."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from ..errors import QVecError
from .scratch import existing_parent

__all__ = ["refuse_full_disk"]


def refuse_full_disk(folder: Path, size: int, what: str) -> None:
    """Refuse to begin what its disk has no room for; where that cannot be asked, nothing is refused.

    Args:
        folder: what is written to; it need not exist.
        size: bytes that will be written.
        what: what they are, for the message.

    Raises:
        QVecError: naming the room that is needed, and that there is.
    """
    with suppress(OSError):
        free = shutil.disk_usage(existing_parent(folder)).free
        if free < size:
            raise QVecError(
                f"folder '{folder}': expected {size / 1e6:,.1f} MB of room for {what}, found {free / 1e6:,.1f} MB "
                "free; make room, or name another folder"
            )
