"""Find the columns of images and labels, and convert both to one type."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Array2D, Array3D, ClassLabel, Dataset, LargeList, List, Value
from datasets import Image as ImageFeature
from PIL import Image

from ..errors import DataError
from .shared import LABEL_MISSING, Classes, is_text

__all__ = ["LARGEST", "find_column", "to_image_and_label", "with_labels"]

IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "pixels", "image_file", "image_path")
LABEL_NAMES = ("label", "labels", "cls", "class", "target", "fine_label", "category", "label_name", "class_name")
LARGEST = 2**31  # label id


def to_image_and_label(
    dataset: Dataset,
    name: str,
    image_column: str | None,
    label_column: str | None,
    classes: Classes | None = None,
) -> Dataset:
    """Return the two columns under their common names; `classes` are those of all splits.

    Missing labels become `LABEL_MISSING`.

    Raises:
        DataError: see `find_column`; images or labels of a type that cannot be used.
    """
    image = find_column(dataset, "image", image_column, name)
    label = find_column(dataset, "label", label_column, name)
    features = {column: dataset.features[column] for column in (image, label)}
    dataset = dataset.with_format(None).select_columns([image, label])
    # Through temporary names: the label column may well be called "image".
    dataset = dataset.rename_columns({image: "qvec_image", label: "qvec_label"})
    dataset = dataset.rename_columns({"qvec_image": "image", "qvec_label": "label"})
    dataset = _as_images(dataset, features[image], name)
    return _as_classes(dataset, features[label], classes, name)


def find_column(dataset: Dataset, what: str, asked: str | None, name: str) -> str:
    """Find the ``"image"`` or ``"label"`` column: the given one, else by type, else by name.

    Raises:
        DataError: when there is none, its type cannot be used, or several are possible.
    """
    columns = dataset.features
    listed = ", ".join(f"{column!r} ({_short(feature)})" for column, feature in columns.items())
    typed_as, usable, common = KINDS[what]
    if asked is not None:
        if asked in columns and usable(columns[asked]):
            return asked
        raise DataError(
            f"dataset {name}: expected {what}s in column {asked!r}, found the columns {listed}; "
            f"pass one that holds {what}s as {what}_column"
        )
    typed = [column for column, feature in columns.items() if isinstance(feature, typed_as)]
    named = [column for column, feature in columns.items() if column.lower() in common and usable(feature)]
    for candidates in ([column for column in typed if column in named], sorted({*typed, *named})):
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            break
    kind = f"one {what} column" + (f", found {len(candidates)} that may be it" if candidates else ", found none")
    raise DataError(f"dataset {name}: expected {kind}; its columns are {listed}; name it with {what}_column")


def with_labels(dataset: Dataset, ids: np.ndarray, feature: Any) -> Dataset:
    """The dataset with other labels.

    Not by ``map`` or ``cast``: they write a cache file beside a dataset that was loaded from a user's folder.
    """
    if dataset._indices is not None:
        dataset = dataset.flatten_indices(keep_in_memory=True)
    rest = dataset.remove_columns("label")
    return rest.add_column("label", pa.array(ids.astype(np.int64)), feature=feature)


def _usable_image(feature: Any) -> bool:
    if isinstance(feature, (ImageFeature, Array2D, Array3D)):
        return True
    if isinstance(feature, dict):
        return bool({"bytes", "path"} & set(feature))
    if isinstance(feature, Value):
        return feature.dtype in ("binary", "large_binary", "string", "large_string")
    return isinstance(feature, (List, LargeList)) and isinstance(feature.feature, (List, LargeList))


def _usable_label(feature: Any) -> bool:
    if isinstance(feature, ClassLabel):
        return True
    return is_text(feature) or (isinstance(feature, Value) and ("int" in feature.dtype or feature.dtype == "bool"))


Kind = tuple[type, Callable[[Any], bool], tuple[str, ...]]
KINDS: dict[str, Kind] = {
    "image": (ImageFeature, _usable_image, IMAGE_NAMES),
    "label": (ClassLabel, _usable_label, LABEL_NAMES),
}


def _as_images(dataset: Dataset, feature: Any, name: str) -> Dataset:
    if isinstance(feature, ImageFeature) and feature.decode and feature.mode is None:
        return dataset
    if isinstance(feature, (Array2D, Array3D, List, LargeList)):
        encode = _ArraysToPng(name)
        features = dataset.features.copy()
        features["image"] = ImageFeature()
        return dataset.map(encode, batched=True, batch_size=100, features=features, keep_in_memory=True)
    try:
        return dataset.cast_column("image", ImageFeature())
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"dataset {name}: expected images in the column of type {_short(feature)}, found values that cannot be "
            f"read as images ({error}); store encoded bytes, or name another column with image_column"
        ) from error


class _ArraysToPng:
    """A batch function for ``map`` that encodes pixel arrays; integers from 0 to 255, channels first or last."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"image": [self.encode(value) for value in batch["image"]]}

    def encode(self, value: Any) -> dict[str, Any]:
        try:
            pixels = np.asarray(value)  # (height, width), (height, width, channels) or (channels, height, width)
        except ValueError:
            pixels = np.zeros(0)  # ragged
        if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4) and pixels.shape[-1] not in (1, 3, 4):
            pixels = pixels.transpose(1, 2, 0)
        if pixels.ndim == 3 and pixels.shape[-1] == 1:
            pixels = pixels[..., 0]
        fits = pixels.size > 0 and np.issubdtype(pixels.dtype, np.integer) and pixels.min() >= 0 and pixels.max() <= 255
        if not fits or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] in (3, 4))):
            raise DataError(
                f"dataset {self.name}: expected images as arrays of integers from 0 to 255, (height, width) or "
                f"(height, width, 3), found shape {pixels.shape} and type {pixels.dtype}; convert them to uint8"
            )
        encoded = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(encoded, "png")
        return {"bytes": encoded.getvalue(), "path": None}


def _as_classes(dataset: Dataset, feature: Any, classes: Classes | None, name: str) -> Dataset:
    column = dataset.with_format("arrow")["label"][:]
    wanted: Any = Value("int64") if classes is None else ClassLabel(names=classes.names)
    if wanted == feature and column.null_count == 0:
        return dataset
    values = column.to_pylist()
    if classes is None:
        ids = [LABEL_MISSING if value is None else int(value) for value in values]
        ids = [min(each, LARGEST) for each in ids]  # refused as any other that is too large
    else:
        ids = classes.ids(values, feature, name)
    return with_labels(dataset, np.array(ids, dtype=np.int64), wanted)


def _short(feature: Any) -> str:
    if isinstance(feature, Value):
        return feature.dtype
    return type(feature).__name__ if not isinstance(feature, dict) else "struct"
