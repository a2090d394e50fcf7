"""Read a dataset from the Hub, a folder, parquet files, a save of the datasets library, or memory."""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset, DatasetDict

from ..errors import DataError, QVecError
from ..util.untrusted import printable
from .class_folders import SPLIT_NAMES, UNSPLIT, open_class_folders
from .files import is_hidden
from .hub_dataset import open_hub

__all__ = ["as_data_error", "open_source", "source_name"]


def source_name(source: Any) -> str:
    """What messages call a source."""
    return repr(str(source)) if isinstance(source, (str, Path)) else "in memory"


def open_source(
    source: str | Path | Dataset | DatasetDict,
    *,
    config: str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    files: Mapping[str, str] | None = None,
) -> DatasetDict:
    """Read all splits of a source, with their original columns.

    Args:
        files: of a Hub dataset, see `open_hub`; ignored for any other source.

    Raises:
        DataError: when there is nothing at `source`, or it cannot be read.
    """
    if isinstance(source, Dataset):
        return DatasetDict({str(source.split or UNSPLIT): source})
    if isinstance(source, DatasetDict) and all(isinstance(split, Dataset) for split in source.values()):
        return source
    if not isinstance(source, (str, Path)) or not str(source):
        raise DataError(
            f"dataset: expected a Hub id, a path, 'zoo:NAME' or a datasets.Dataset, found {type(source).__name__} "
            f"{source!r:.60}; a streamed dataset has to be loaded first"
        )
    text = str(source)
    if isinstance(source, str) and text.startswith("zoo:") and not _exists(text):
        from .. import zoo  # the tasks are built on this room

        name, size = zoo.parse_dataset(text)
        return zoo.load_task(name, size=size)
    with _plain_output(), as_data_error(repr(text)):
        path = Path(text) if _exists(text) else Path(text).expanduser()
        if path.exists():
            return _open_path(path, text, config, cache_dir)
        if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", text) or path.suffix == ".parquet":
            raise DataError(
                f"dataset {text!r}: expected a folder, a parquet file or a Hub dataset id such as 'org/name', "
                "found no such path; check the spelling"
            )
        return open_hub(text, config, revision, token, cache_dir, files)


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a path, or with a NUL
        return False


def _open_path(path: Path, name: str, config: str | None, cache_dir: str | Path | None) -> DatasetDict:
    if path.is_file():
        if path.suffix != ".parquet":
            raise DataError(
                f"dataset {name!r}: expected a folder or a .parquet file, found a file {path.name!r}; "
                "pass the folder that holds the class folders"
            )
        return _open_parquet({UNSPLIT: [path]}, cache_dir)
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        _refuse_chains(path)
        saved = datasets.load_from_disk(str(path))
        return saved if isinstance(saved, DatasetDict) else DatasetDict({str(saved.split or UNSPLIT): saved})
    parquet = _visible_files(path, (".parquet",), path / config if config else path)
    if parquet:
        return _open_parquet(_by_split(parquet, path / config if config else path, name), cache_dir)
    return open_class_folders(path, name)


def _refuse_chains(path: Path) -> None:
    """Refuse a path with ``::``: the datasets library takes only the part before it, and would read another folder."""
    if "::" in str(path.absolute()):
        raise DataError(
            f"dataset {str(path)!r}: expected a path without '::', which the datasets library takes for several paths; "
            "rename the folder"
        )


def _open_parquet(files: dict[str, list[Path]], cache_dir: str | Path | None) -> DatasetDict:
    # The datasets library takes paths for patterns, and looks for these in no linked folder.
    places = {split: [file.parent.resolve() / file.name for file in paths] for split, paths in files.items()}
    for place in (place for paths in places.values() for place in paths):
        _refuse_chains(place)
    data_files = {split: [glob.escape(str(place)) for place in paths] for split, paths in places.items()}
    cache = str(cache_dir) if cache_dir else None
    return datasets.load_dataset("parquet", data_files=data_files, cache_dir=cache)


def _by_split(files: list[Path], root: Path, name: str) -> dict[str, list[Path]]:
    """Parquet files by the split their name or folder says: ``test-00000-of-00001.parquet``, ``test/0.parquet``."""
    splits: dict[str | None, list[Path]] = {}
    for file in files:
        words = [re.split(r"[-_. ]", part)[0].lower() for part in reversed(file.relative_to(root).parts)]
        splits.setdefault(next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None), []).append(file)
    unnamed = splits.pop(None, [])
    if unnamed and splits:
        raise DataError(
            f"dataset {name!r}: expected a split in the name of every parquet file, found {unnamed[0].name!r} beside "
            f"files of {', '.join(map(repr, splits))}; rename it, for example train-0.parquet"
        )
    return {UNSPLIT: unnamed} if unnamed else {str(split): paths for split, paths in splits.items()}


@contextmanager
def _plain_output() -> Iterator[None]:
    """Switch redrawn progress bars off where stderr is not a terminal."""
    if sys.stderr.isatty() or datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()


@contextmanager
def as_data_error(name: str) -> Iterator[None]:
    """Turn errors of the datasets library and Pillow in this block into a DataError that names the source."""
    try:
        yield
    except QVecError:
        raise
    except Exception as error:
        detail = printable(" ".join(str(error.__cause__ or error).split()), 300)
        hint = "; pass one of them as config (--config)" if "Config name is missing" in detail else ""
        raise DataError(
            f"dataset {name}: expected a readable dataset, found {type(error).__name__}: {detail}{hint}"
        ) from error


def _visible_files(root: Path, suffixes: Iterable[str], below: Path | None = None) -> list[Path]:
    start = below if below is not None else root
    if not start.is_dir():
        raise DataError(
            f"dataset {str(root)!r}: expected a sub-folder {start.name!r}, found none; leave out config or correct it"
        )
    wanted = tuple(suffixes)
    files = (path for path in start.rglob("*") if path.suffix.lower() in wanted and path.is_file())
    return sorted(file for file in files if not any(map(is_hidden, file.relative_to(root).parts)))
