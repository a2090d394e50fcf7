"""Read untrusted input: files that may not be regular files, JSON that may be anything, text that may drive a terminal.

Everything read from an artifact comes through here. A file is checked before it is opened, because opening a pipe or a
device can block for ever. Symbolic links are followed, because the Hub's cache consists of them, and their target is
checked like any other file.
"""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

from ..errors import ArtifactError
from .scalars import number_in

__all__ = ["parse_json", "printable", "read_file", "size_of", "unique_keys"]

MAX_DEPTH = 32  # of nested JSON; a config has five levels
MAX_DIGITS = 20  # of a JSON integer; those of a 64-bit one
_AGAIN = "fetch or extract the vector again"

# Control characters (they move the cursor, set colours and titles), line and paragraph separators, overrides of
# the writing direction (they show a name backwards), and halves of surrogate pairs (they cannot be printed at all).
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object, limit: int = 200) -> str:
    """Put untrusted text on one line of at most `limit` characters, with unsafe characters escaped."""
    shown = str(text)
    shown = shown if len(shown) <= limit else f"{shown[: limit - 1]}…"
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), shown)


def size_of(path: Path, limit: int | None = None, advice: str = _AGAIN) -> int:
    """Size in bytes of a file that is safe to open: a regular file, not empty, at most `limit` bytes.

    No file of an artifact is empty; refusing empty ones also keeps out endless files that report no size, as in /proc.

    Args:
        advice: the end of every message, what to do.

    Raises:
        ArtifactError: when it is missing, is not such a file, or cannot be read.
    """
    try:
        status = path.stat()
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            raise ArtifactError(f"{path}: cannot be read ({error.strerror}); {advice}") from error
        problem = "cannot be read (what it links to is missing)" if path.is_symlink() else "is missing"
        raise ArtifactError(f"{path}: {problem}; {advice}") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise ArtifactError(f"{path}: is {kind}, expected a regular file; {advice}")
    if status.st_size == 0:
        raise ArtifactError(f"{path}: is empty, so truncated; {advice}")
    if limit is not None and status.st_size > limit:
        raise ArtifactError(f"{path}: has {status.st_size} bytes, expected at most {limit}; {advice}")
    return status.st_size


def read_file(path: Path, limit: int) -> bytes:
    """The content of a small file.

    Raises:
        ArtifactError: as `size_of`, or when it cannot be read.
    """
    size = size_of(path, limit)
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); {_AGAIN}") from error


def parse_json(data: bytes, where: object, advice: str = _AGAIN) -> Any:
    """Parse JSON strictly: no duplicate key, no NaN, no infinity, no number or nesting without bounds.

    Raises:
        ArtifactError: when the data breaks one of these rules, or a string in it holds control characters.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=unique_keys,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_number,
        )
        _refuse_unsafe(value, MAX_DEPTH)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: not readable as JSON ({printable(error)}); {advice}") from error
    return value


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these keys and values, for `json`; raises ValueError when a key stands there twice."""
    values = dict(pairs)
    if len(values) < len(pairs):  # which of the two values is meant would be a guess
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key '{printable(twice, 60)}' stands there twice")
    return values


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits, expected at most {MAX_DIGITS}")
    return int(digits)


def _number(digits: str) -> float:
    number = number_in(float(digits))
    if number is None:
        raise ValueError(f"expected finite numbers, found {digits}")
    return number


def _refuse_unsafe(value: Any, depth: int) -> None:
    if depth < 0:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str) and _UNSAFE.search(value):
        raise ValueError(f"control characters in the text '{printable(value, 60)}'")
    if isinstance(value, dict):
        for key in value:
            _refuse_unsafe(key, depth)
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _refuse_unsafe(item, depth - 1)
