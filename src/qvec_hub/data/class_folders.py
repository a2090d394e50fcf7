"""Read a folder of images whose folders name the classes, and perhaps the splits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from datasets import ClassLabel, Dataset, DatasetDict, Features
from datasets import Image as ImageFeature

from ..errors import DataError
from .files import find_images, image_suffixes, left_out, visible_folders
from .names import unify

__all__ = ["SPLIT_NAMES", "UNSPLIT", "open_class_folders"]

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


def open_class_folders(root: Path, name: str) -> DatasetDict:
    """Read images in class folders, with the columns ``image`` and ``label``, split by split.

    ``imagefolder`` does not read them: it takes a class called "train" or a file called ``cat_test.png`` for a split,
    and numbers the classes of each split apart.

    Raises:
        DataError: when there are no images in class folders, or it is not clear which folders are splits or classes.
    """
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
