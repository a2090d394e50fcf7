"""Files of benchmark rows: one JSON object a line, appended one by one and never rewritten."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import DataError
from ..util.untrusted import unique_keys
from .row import CONTROLS, SCALE_POLICIES, DonorUse, Row, build_row

__all__ = ["CONTROLS", "SCALE_POLICIES", "DonorUse", "Row", "append_row", "read_all", "read_rows", "row_files"]

START = b'{"suite":'  # of every line that `append_row` writes
BLOCK = 1 << 16


def read_rows(path: str | Path, torn_ok: bool = False) -> list[Row]:
    """Read and check the rows of a file; skips empty lines, warns once of unknown keys.

    Args:
        torn_ok: skip an incomplete last line, for a file that is being written.

    Raises:
        DataError: when the file cannot be read, or a line is no complete, valid row; names file, line and key.
    """
    rows: list[Row] = []
    first_seen: dict[str, int] = {}  # unknown key -> line
    try:
        with Path(path).open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                where = f"{path}:{number}"
                if not line.endswith(b"\n") and not _is_whole(line):
                    if torn_ok:
                        break
                    raise DataError(
                        f"{where}: expected a whole row, found a torn one of {len(line)} bytes, the file's last; what "
                        "wrote it was interrupted: remove the line, or pass torn_ok=True to read the rows before it"
                    )
                row, unknown = build_row(_parse(line, where), where)
                rows.append(row)
                for key in unknown:
                    first_seen.setdefault(key, number)
    except OSError as error:
        raise DataError(f"{path}: expected a file of benchmark rows, found none that can be read ({error})") from error
    if first_seen:
        keys = ", ".join(f"{key} (line {number})" for key, number in first_seen.items())
        warnings.warn(f"{path}: ignoring unknown keys {keys}", stacklevel=2)
    return rows


def row_files(paths: Iterable[str | Path]) -> list[Path]:
    """List files of rows, each once; a folder stands for all its ``*.jsonl``, sorted by name.

    Raises:
        DataError: when one does not exist.
    """
    files: dict[Path, Path] = {}
    for path in map(Path, paths):
        inside = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if not all(file.is_file() for file in inside):
            raise DataError(f"{path}: expected a file of benchmark rows, or a folder with such files, found neither")
        files.update((file.resolve(), file) for file in inside)
    return list(files.values())


def read_all(paths: Iterable[str | Path], torn_ok: bool = False) -> list[Row]:
    """Read the rows of files and folders, see `row_files` and `read_rows`.

    Raises:
        DataError: when a file cannot be read or holds a line that is no row, or there are no rows.
    """
    paths = list(paths)
    rows = [row for file in row_files(paths) for row in read_rows(file, torn_ok)]
    if not rows:
        raise DataError(f"{', '.join(map(str, paths))}: expected benchmark rows, found none; run the suite first")
    return rows


def append_row(path: str | Path, row: Row) -> None:
    """Add a row to the end of a file, new or old; it is on the disk when this returns.

    If a crash left half a row at the end, that half is removed first. One process at a time may append.

    Raises:
        DataError: when the file cannot be written to, or ends in something that is no row.
    """
    line = json.dumps(row.to_dict()).encode() + b"\n"
    try:
        # Unbuffered, so that the row arrives in one write.
        with Path(path).open("a+b", buffering=0) as file:
            _repair(file, path)
            _write(file, line)
            os.fsync(file.fileno())
    except OSError as error:
        raise DataError(f"{path}: expected a file to append a row to, found that it cannot be: {error}") from error


def _repair(file: BinaryIO, path: str | Path) -> None:
    """Let the file end in a newline: complete a last row that only lacks it, remove half a one."""
    tail, end = _tail(file)
    content = tail.strip(b" \t\r\0")  # some file systems leave zeros where a crash cut a write off
    if not tail:
        return
    if _is_whole(content):
        _write(file, b"\n")
    elif content[: len(START)] == START[: len(content)]:
        file.truncate(end - len(tail))
    else:
        raise DataError(
            f"{path}: expected rows, found a last line that begins with {content[:20]!r}; nothing was written to it: "
            "name another file"
        )


def _tail(file: BinaryIO) -> tuple[bytes, int]:
    """What stands after the last newline, and where the file ends."""
    end = start = file.seek(0, os.SEEK_END)
    tail = b""
    while start > 0:
        step = min(BLOCK, start)
        start = file.seek(start - step)
        block = file.read(step)
        cut = block.rfind(b"\n")
        tail = block[cut + 1 :] + tail
        if cut >= 0:
            break
    return tail, end


def _write(file: BinaryIO, data: bytes) -> None:
    written = file.write(data)
    if written != len(data):
        raise OSError(f"only {written} of {len(data)} bytes could be written; is the disk full?")


def _is_whole(line: bytes) -> bool:
    """No beginning of a JSON object is a JSON object, so one that parses lacks the newline at most."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _parse(line: bytes, where: str) -> Any:
    try:
        return json.loads(line.decode("utf-8"), object_pairs_hook=unique_keys, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: expected a row as one JSON object, found what is none ({error}); take the line out and measure "
            "it again"
        ) from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")
