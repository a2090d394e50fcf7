"""Read a dataset from the Hub, a folder, parquet files, a save of the datasets library, or memory."""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
from datasets import ClassLabel, Dataset, DatasetDict, Features
from datasets import Image as ImageFeature

from ..errors import DataError, QVecError
from ..hub.transfer.ask import hub_status
from ..util.untrusted import printable
from .files import find_images, image_suffixes, is_hidden, left_out, visible_folders
from .names import unify

__all__ = ["as_data_error", "dataset_revision", "open_source", "source_name"]

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
METADATA = ("metadata.csv", "metadata.jsonl")  # as imagefolder calls them
UNSPLIT = "train"  # as the datasets library calls the one split of data that has none


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
) -> DatasetDict:
    """Read all splits of a source, with their original columns.

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
        from ..zoo.dataset import load_task  # the tasks are built on this room

        return load_task(text.removeprefix("zoo:"))
    with _plain_output(), as_data_error(repr(text)):
        path = Path(text) if _exists(text) else Path(text).expanduser()
        if path.exists():
            return _open_path(path, text, config, cache_dir)
        if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", text) or path.suffix == ".parquet":
            raise DataError(
                f"dataset {text!r}: expected a folder, a parquet file or a Hub dataset id such as 'org/name', "
                "found no such path; check the spelling"
            )
        return _open_hub(text, config, revision, token, cache_dir)


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a path, or with a NUL
        return False


def dataset_revision(dataset: Dataset) -> str | None:
    """The commit a dataset from the Hub was read at; None for any other."""
    # The datasets library names the folder of its cached copy after the commit.
    folders = {Path(file["filename"]).parent.name for file in dataset.cache_files}
    commits = {folder for folder in folders if re.fullmatch("[0-9a-f]{40}", folder)}
    return commits.pop() if len(commits) == 1 else None


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
    return _open_class_folders(path, name)


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


def _open_class_folders(root: Path, name: str) -> DatasetDict:
    """Images in class folders, read here rather than by ``imagefolder``: that takes a class called "train" or
    a file called ``cat_test.png`` for a split, and numbers the classes of each split apart."""
    roots = _split_folders(root, name) or {UNSPLIT: root}
    folders = {split: visible_folders(split_root) for split, split_root in roots.items()}
    found = find_images([each for inside in folders.values() for each in inside], repr(name), {root, *roots.values()})
    files = {split: {each.name: found[each] for each in inside} for split, inside in folders.items()}
    if any(found.values()):
        _refuse_other_labels({root, *roots.values()}, name)
    classes, ids = unify(files)
    loaded = DatasetDict()
    for split, by_class in files.items():
        rows = [(str(file), ids[label]) for label, paths in by_class.items() for file in paths]
        if not rows:
            continue
        features = Features({"image": ImageFeature(), "label": ClassLabel(names=classes)})
        columns = {"image": [file for file, _ in rows], "label": [label for _, label in rows]}
        loaded[split] = Dataset.from_dict(columns, features=features, split=split)
    if loaded:
        return loaded
    if any(find_images([root], repr(name)).values()):
        raise DataError(
            f"dataset {name!r}: expected a folder per class, found images without class folders; "
            "labels are the names of the folders: move each image into the folder of its class (where a metadata file "
            "labels them, pass the result of datasets.load_dataset('imagefolder', data_dir=...))"
        )
    raise DataError(
        f"dataset {name!r}: expected class folders of images, parquet files or a saved dataset, found none of them"
        f"{left_out(root, repr(name))}; images end in {', '.join(sorted(image_suffixes()))}"
    )


def _refuse_other_labels(roots: Iterable[Path], name: str) -> None:
    """A file of metadata that labels the images itself, beside folders that do so too."""
    for file in (root / each for root in roots for each in METADATA):
        if not file.is_file():
            continue
        with file.open(encoding="utf-8", errors="replace") as opened:
            beginning = opened.readline(10_000)
        if re.search(r"\blabels?\b", beginning):
            raise DataError(
                f"dataset {name!r}: expected the folders to name the classes, found labels in {file.name!r} as well; "
                "remove the one or the other, or load it with datasets.load_dataset('imagefolder', data_dir=...) "
                "and pass the result"
            )


def _split_folders(root: Path, name: str) -> dict[str, Path]:
    """The folders that are splits; none where the folders are the classes themselves."""
    folders = visible_folders(root)
    named = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES]
    others = [folder for folder in folders if folder not in named]
    # A class may be called "train", but then it holds images and stands beside other classes.
    if not named or (others and not any(visible_folders(folder) for folder in named)):
        return {}
    beside = [folder.name for folder, images in find_images(others, repr(name)).items() if images]
    if beside:
        raise DataError(
            f"dataset {name!r}: expected either splits or classes as folders, found images in {beside[0]!r} beside "
            f"the split {named[0].name!r}; move it out, or pass a folder with one kind only"
        )
    splits: dict[str, Path] = {}
    for folder in named:
        first = splits.setdefault(SPLIT_NAMES[folder.name.lower()], folder)
        if first is not folder:
            raise DataError(
                f"dataset {name!r}: expected one folder for each split, found {first.name!r} and {folder.name!r}; "
                "rename or remove one"
            )
    return splits


def _open_hub(
    name: str, config: str | None, revision: str | None, token: str | bool | None, cache_dir: str | Path | None
) -> DatasetDict:
    arguments = {
        "name": config,
        "revision": revision,
        "token": token,
        "cache_dir": str(cache_dir) if cache_dir else None,
    }
    if _reachable(name, revision, token):
        return datasets.load_dataset(name, **arguments)
    # The library itself retries for half a minute before it looks in its cache; told to be offline it looks at once.
    with _offline():
        try:
            loaded = datasets.load_dataset(name, **arguments)
        except ConnectionError as error:
            raise DataError(
                f"dataset {name!r}: expected the Hub to answer or a cached copy, found no connection and nothing in "
                "the cache; go online once (unset HF_HUB_OFFLINE), or pass a local folder or parquet file"
            ) from error
    if revision is not None and any(dataset_revision(split) != revision for split in loaded.values()):
        raise DataError(
            f"dataset {name!r}: expected revision {revision!r}, found no connection and a cached copy of "
            f"{dataset_revision(next(iter(loaded.values())))}; go online once, or pass that commit or no revision"
        )
    return loaded


def _reachable(name: str, revision: str | None, token: str | bool | None) -> bool:
    """Whether the Hub answers; a refusal (no such dataset, not allowed) is raised, not returned."""
    status = hub_status(name, revision, token, "dataset")
    if status not in (None, 200):
        raise DataError(
            f"dataset {name!r}{f' at revision {revision!r}' if revision else ''}: expected a dataset on the Hub, found "
            f"status {status}: it does not exist, or is private or gated; check the id and the revision, and pass a "
            "token"
        )
    return status is not None


@contextmanager
def _offline() -> Iterator[None]:
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


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
    """Turn errors of the datasets library and Pillow into an error that names the source."""
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
