"""Rows from files and folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import DataError
from ..row import Row
from ..rows import read_rows

__all__ = ["read_all"]


def read_all(paths: Sequence[str | Path]) -> list[Row]:
    """The rows of files, and of the ``*.jsonl`` files in folders by name; a file named twice is read once.

    Raises:
        DataError: a file cannot be read or holds what is no row, a folder holds no such file, or there are no rows.
    """
    files: dict[Path, Path] = {}
    for path in map(Path, paths):
        inside = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if not inside:
            raise DataError(f"{path}: expected a folder with files of rows (*.jsonl), found none in it; name the files")
        files.update((file.resolve(), file) for file in inside)
    rows = [row for file in files.values() for row in read_rows(file)]
    if not rows:
        raise DataError(f"{', '.join(map(str, paths))}: expected benchmark rows, found none; run the suite first")
    return rows
