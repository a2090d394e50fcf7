"""Load splits, with every label and the first image checked, and decode rows."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict
from datasets import Image as ImageFeature
from PIL import ExifTags, Image, ImageOps

from ..errors import DataError
from ..util.untrusted import printable
from .columns import LARGEST, find_column, to_image_and_label
from .names import some
from .shared import LABEL_MISSING, Classes, shared_classes
from .sources import as_data_error, open_source, source_name

__all__ = ["check_images", "load_image_splits", "load_images", "load_split", "read_images"]

ORIENTATION = ExifTags.Base.Orientation


def load_images(
    source: str | Path | Dataset | DatasetDict,
    split: str | None = None,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
) -> Dataset:
    """Load one split, with exactly the columns ``image`` (`datasets.Image`) and ``label``.

    ``label`` is a `datasets.ClassLabel` if class names are known, else an integer. Text labels become classes in sorted
    order over all splits, so the ids of ``train`` and ``test`` agree.

    Args:
        source: see `qvec_hub.data`.
        split: name of the split; None if there is only one. It is ignored for a `datasets.Dataset`, which is one
            split.
        image_column, label_column: needed only if the columns cannot be found by type and name.
        config: the configuration of a Hub dataset, or the sub-folder of a folder of parquet files.
        revision: of a Hub dataset. token, cache_dir: as in ``datasets.load_dataset``.

    Raises:
        DataError: when there is nothing at `source` or no such split, no or several columns can be the images or the
            labels, labels are missing, or the first image cannot be decoded.
    """
    hub: dict[str, Any] = {"config": config, "revision": revision, "token": token, "cache_dir": cache_dir}
    return load_split(source, split, None, image_column, label_column, **hub)[0]


def load_split(
    source: str | Path | Dataset | DatasetDict,
    split: str | None,
    default: str | None,
    image_column: str | None = None,
    label_column: str | None = None,
    **hub: Any,
) -> tuple[Dataset, str]:
    """As `load_images`, with the name of the split taken; `default` is preferred where `split` is None."""
    name = source_name(source)
    raw = open_source(source, **hub)
    if isinstance(source, Dataset):
        split = None
    elif split is None and default in raw:
        split = default
    split = _pick_split(name, list(raw), split)
    where = f"{name}, split {split!r}"
    with as_data_error(where):
        classes = _classes(raw, label_column, name)
        dataset = to_image_and_label(raw[split], where, image_column, label_column, classes)
    _check_labels(dataset, where)
    read_images(dataset, [0], name=where)
    return dataset, split


def load_image_splits(
    source: str | Path | Dataset | DatasetDict,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    **hub: Any,
) -> DatasetDict:
    """Load all labeled splits of a source; arguments (`hub`: config, revision, …), columns and errors as `load_images`.

    Splits without labels (a hidden test set) are left out. A source without splits is returned as ``{"train": …}``.

    Raises:
        DataError: as `load_images`.
    """
    name = source_name(source)
    raw = open_source(source, **hub)
    with as_data_error(name):
        classes = _classes(raw, label_column, name)
    splits, unlabeled = DatasetDict(), []
    for split in raw:
        where = f"{name}, split {split!r}"
        try:
            find_column(raw[split], "label", label_column, where)
        except DataError as error:
            unlabeled.append(error)
            continue
        with as_data_error(where):
            dataset = to_image_and_label(raw[split], where, image_column, label_column, classes)
        try:
            _check_labels(dataset, where)
        except DataError as error:
            unlabeled.append(error)
            continue
        read_images(dataset, [0], name=where)
        splits[split] = dataset
    if not splits:
        raise unlabeled[0] if unlabeled else DataError(f"dataset {name}: expected at least one split, found none")
    return splits


def read_images(
    dataset: Dataset, rows: Sequence[int], *, mode: str = "RGB", name: str | None = None
) -> list[Image.Image]:
    """Decode rows of a dataset loaded here, in the given PIL mode (``"RGB"`` or ``"L"``).

    Raises:
        DataError: when a row holds no readable image; the message names the first.
    """
    check_images(dataset)
    stored = dataset.with_format("arrow")[list(rows)]["image"].to_pylist()
    images = []
    for row, value in zip(rows, stored, strict=True):
        try:
            images.append(_decode(value, mode))
        except Exception as error:  # whatever Pillow and its plugins raise on damaged bytes
            file = f" in {printable(value['path'])}" if value and value["path"] else ""
            raise DataError(
                f"dataset {name or 'the dataset'}: expected an image in row {row}, found bytes that cannot be decoded"
                f"{file} ({type(error).__name__}: {printable(error, 300)}); remove or replace that row"
            ) from error
    return images


def check_images(dataset: Any) -> None:
    """Refuse what is no dataset of images.

    Raises:
        DataError: see above.
    """
    feature = dataset.features.get("image") if isinstance(dataset, Dataset) else None
    if not isinstance(feature, ImageFeature):
        raise DataError(
            f"dataset: expected images as load_images gives them, found {type(dataset).__name__}; pass it to that first"
        )


def _decode(value: dict[str, Any] | None, mode: str) -> Image.Image:
    """A stored image in some mode, turned as its camera says: what ``datasets`` makes of it, with no file left open."""
    if value is None or (value["bytes"] is None and value["path"] is None):
        raise ValueError("no image")
    if value["bytes"] is None and re.match(r"[a-z][a-z0-9+.-]*://", value["path"]):  # a file of the Hub
        return _to_mode(ImageFeature().decode_example(value), mode)
    with Image.open(value["path"] if value["bytes"] is None else io.BytesIO(value["bytes"])) as opened:
        opened.load()
        turned = opened.getexif().get(ORIENTATION) is not None
        return _to_mode(ImageOps.exif_transpose(opened) if turned else opened.copy(), mode)


def _classes(raw: DatasetDict, label_column: str | None, name: str) -> Classes | None:
    columns = {}
    for split, dataset in raw.items():
        try:
            column = find_column(dataset, "label", label_column, f"{name}, split {split!r}")
        except DataError:
            continue  # raised again for the split that is asked for
        columns[str(split)] = (dataset.features[column], dataset, column)
    return shared_classes(columns)


def _pick_split(name: str, known: list[str], split: str | None) -> str:
    if split is None and len(known) == 1:
        return known[0]
    if split in known:
        return str(split)
    if split is None:
        raise DataError(f"dataset {name}: expected a choice of split, found {some(known)}; pass split= (--split)")
    raise DataError(f"dataset {name}: expected a split {split!r}, found {some(known)}; pass one of these as split")


def _check_labels(dataset: Dataset, name: str) -> None:
    if len(dataset) == 0:
        raise DataError(f"dataset {name}: expected images, found no rows")
    labels = np.asarray(dataset.with_format("numpy")["label"][:])
    missing = int((labels == LABEL_MISSING).sum())
    if missing:
        raise DataError(
            f"dataset {name}: expected a label for each of {len(labels)} images, found {missing} without one "
            "(null, blank or -1); choose a labeled split"
        )
    feature = dataset.features["label"]
    count = len(feature.names) if isinstance(feature, ClassLabel) else None
    outside = labels[(labels < 0) | (labels >= (LARGEST if count is None else count))]
    if outside.size:
        upto = f" to {count - 1}, the classes that have names" if count else ""
        raise DataError(
            f"dataset {name}: expected labels from 0{upto}, found {int(outside[0])}; number the classes from 0"
        )


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow clips 16 bits at 255 instead of scaling them
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == mode:
        return image
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Palette images with Transparency")  # which is dropped, as everywhere
        return image.convert(mode)
