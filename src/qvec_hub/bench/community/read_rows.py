"""Reading an untrusted file of rows line by line: a bad line is named and does not invalidate the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...errors import ArtifactError, DataError
from ...results.row import Row, build_row
from ...util.untrusted import parse_json, printable

__all__ = ["Placed", "Rejection", "read_lines"]

MAX_LINE_BYTES = 64 << 10  # a row has about 700, and some more for each donor
MAX_NAMED = 100  # bad lines of a file that are named; the others are counted
MAX_IMAGES = 10**9


class Rejection(NamedTuple):
    """The place of something that was left out, and the reason."""

    where: str
    reason: str


class Placed(NamedTuple):
    """A row, and the place of the line it was read from."""

    where: str
    row: Row


def read_lines(content: bytes, where: str) -> Iterator[Placed | Rejection]:
    """Read the rows of a file's content; a `Rejection` replaces each bad line, and after `MAX_NAMED` all others."""
    bad = 0
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield Placed(f"{where}:{number}", _row(line))
        except (DataError, ArtifactError) as error:
            bad += 1
            if bad <= MAX_NAMED:
                yield Rejection(f"{where}:{number}", printable(error, 500))
    if bad > MAX_NAMED:
        yield Rejection(where, f"{bad - MAX_NAMED:,} more lines are no rows; the first {MAX_NAMED} are named")


def _row(line: bytes) -> Row:
    """Raises DataError or ArtifactError."""
    if len(line) > MAX_LINE_BYTES:
        raise DataError(f"expected a row of at most {MAX_LINE_BYTES:,} bytes, found {len(line):,}")
    # Stricter than `read_rows` only where no row of this package goes: control characters, endless numbers. Unknown
    # keys are accepted, because a later version may add some.
    row, _ = build_row(parse_json(line, "line", "it is torn, or was written by hand"), "row")
    if row.n > MAX_IMAGES:
        raise DataError(f"n: expected at most {MAX_IMAGES:,} images, found {row.n:,}")
    return row
