"""Paths of rows in a results repository; each holds the submitter's name and a hash of the content.

    rows/<user>/<suite>-<16 hex digits>.jsonl     rows of one suite
    rows/<user>/context-<16 hex digits>.json      what their names stand for

The digits are the start of the content's SHA-256. So two submissions never share a path, a file that was changed after
its submission is detected, and no file is ever replaced.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from ...errors import HubError
from ...util.untrusted import printable

__all__ = ["CONTEXT", "ROWS", "TAG", "RowsPath", "folder_of", "path_of", "read_path"]

TAG = "qvec-hub-results"  # of the dataset repositories that hold rows
ROWS, CONTEXT = ".jsonl", ".json"  # what a file holds, by its suffix
DIGITS = 16
_WORD = r"\w(?:[\w.-]{0,94}\w)?"
_USER = re.compile(_WORD, re.ASCII)
_PATH = re.compile(rf"rows/({_WORD})/({_WORD})-([0-9a-f]{{{DIGITS}}})(\.jsonl?)", re.ASCII)


class RowsPath(NamedTuple):
    """The submitter, digest (16 hex digits) and suffix in a file's path."""

    user: str
    digest: str
    suffix: str

    def holds(self, content: bytes) -> bool:
        """Whether the digest is that of the content, so that it is what was submitted."""
        return _digest(content) == self.digest


def folder_of(user: str) -> str:
    """The folder of a submitter in a results repository.

    Raises:
        HubError: when the name cannot be part of a path.
    """
    if not _USER.fullmatch(user) or ".." in user:
        raise HubError(f"user {printable(repr(user), 60)}: expected a user name of the Hub; check the token's owner")
    return f"rows/{user}"


def path_of(user: str, stem: str, content: bytes, suffix: str) -> str:
    """The path of a submitted file, with a hash of `content`; characters of `stem` that no path may have are replaced.

    Raises:
        HubError: when `user` cannot be part of a path.
    """
    plain = re.sub(r"[^\w.-]+|\.{2,}", "-", stem, flags=re.ASCII)[:64].strip("-.") or "rows"
    return f"{folder_of(user)}/{plain}-{_digest(content)}{suffix}"


def read_path(path: str) -> RowsPath | None:
    """Parse a path in a results repository; None if it does not have the form above."""
    found = _PATH.fullmatch(path)
    return RowsPath(found[1], found[3], found[4]) if found and ".." not in path else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]
