"""Where rows lie in a results repository: a path that says who sent them, and what their content is.

    rows/<user>/<suite>-<16 hex digits>.jsonl     rows of one suite
    rows/<user>/context-<16 hex digits>.json      what their names stand for

The digits begin the SHA-256 of the content. So two submissions never meet at one path, a file that was changed after
its submission shows, and nothing there ever has to be replaced.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from ...errors import HubError
from ...util.untrusted import printable

__all__ = ["CONTEXT", "ROWS", "TAG", "Stored", "folder_of", "path_of", "read_path"]

TAG = "qvec-hub-results"  # of the dataset repositories that hold rows
ROWS, CONTEXT = ".jsonl", ".json"  # what a file holds, by its suffix
DIGITS = 16
_WORD = r"\w(?:[\w.-]{0,94}\w)?"
_USER = re.compile(_WORD, re.ASCII)
_PATH = re.compile(rf"rows/({_WORD})/({_WORD})-([0-9a-f]{{{DIGITS}}})(\.jsonl?)", re.ASCII)


class Stored(NamedTuple):
    """What a path says of its file."""

    user: str
    digest: str
    suffix: str

    def holds(self, content: bytes) -> bool:
        """Whether the content is the one that was submitted."""
        return _digest(content) == self.digest


def folder_of(user: str) -> str:
    """The folder of a submitter.

    Raises:
        HubError: when the name is none a path can hold.
    """
    if not _USER.fullmatch(user) or ".." in user:
        raise HubError(f"user {printable(repr(user), 60)}: expected a user name of the Hub; check the token's owner")
    return f"rows/{user}"


def path_of(user: str, stem: str, content: bytes, suffix: str) -> str:
    """The path for a content; `stem` is cut to what a path can hold."""
    plain = re.sub(r"[^\w.-]+|\.{2,}", "-", stem, flags=re.ASCII)[:64].strip("-.") or "rows"
    return f"{folder_of(user)}/{plain}-{_digest(content)}{suffix}"


def read_path(path: str) -> Stored | None:
    """What a path says, or None where it is not of the form above."""
    found = _PATH.fullmatch(path)
    return Stored(found[1], found[3], found[4]) if found and ".." not in path else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]
