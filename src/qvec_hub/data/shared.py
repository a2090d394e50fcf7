"""Build one list of classes for all splits of a dataset, from the classes that each split states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import ClassLabel, Dataset, Value

from ..errors import DataError
from .names import are_numbers, are_placeholders, clean, match, some, unify

__all__ = ["LABEL_MISSING", "Classes", "is_text", "shared_classes"]

LABEL_MISSING = -1  # how the Hub's datasets mark the rows of a hidden test set


def is_text(feature: Any) -> bool:
    """Whether a column's labels are words."""
    return isinstance(feature, Value) and feature.dtype in ("string", "large_string", "string_view")


def is_truth(feature: Any) -> bool:
    """Whether a column's labels are True and False."""
    return isinstance(feature, Value) and feature.dtype == "bool"


@dataclass(frozen=True)
class Classes:
    """The classes of all splits.

    Attributes:
        names: class names by id.
        source: the split they were read from, for messages.
        spelled: ids of the text labels of all splits, if the names were read from these.
    """

    names: list[str]
    source: str
    spelled: Mapping[str, int] | None = None

    def ids(self, values: Sequence[Any], feature: Any, name: str) -> list[int]:
        """Ids of a split's raw labels, `LABEL_MISSING` for those that are missing.

        Raises:
            DataError: when a label is none of the classes.
        """
        known = self._known(values, feature, name)
        return [LABEL_MISSING if _is_missing(value) else known[value] for value in values]

    def _known(self, values: Sequence[Any], feature: Any, name: str) -> dict[Any, int]:
        used = sorted({value for value in values if not _is_missing(value)})
        if isinstance(feature, ClassLabel):
            self._check_range(used, len(feature.names), name)
            named = [feature.names[value] for value in used]
            if are_placeholders(feature.names) and match(named, self.names) is None:
                return self._by_id(used, name)
            return self._by_name(used, named, name)
        if is_text(feature) and self.spelled is not None:
            return {value: self.spelled[value] for value in used}
        if is_text(feature):
            return self._by_name(used, used, name)
        numbers = are_numbers(self.names) or []
        if self.spelled is not None or numbers != list(range(len(numbers))):
            return self._by_name(used, [str(value) for value in used], name)
        return self._by_id(used, name)

    def _by_name(self, used: Sequence[Any], names: Sequence[str], name: str) -> dict[Any, int]:
        places = match(names, self.names)
        if places is None and len({clean(each) for each in names}) < len(names):  # one class spelled in two ways
            each_alone = [match([each], self.names) for each in names]
            places = None if None in each_alone else [found[0] for found in each_alone if found is not None]
        if places is None:
            unmatched = [each for each in names if match([each], self.names) is None]
            raise DataError(
                f"dataset {name}: expected the classes of the split {self.source!r} ({some(self.names)}), found "
                f"{some(unmatched or list(names))}, which cannot be matched with them by name; name the classes of all "
                "splits alike"
            )
        return dict(zip(used, places, strict=True))

    def _by_id(self, used: Sequence[Any], name: str) -> dict[Any, int]:
        self._check_range(used, len(self.names), name)
        return {value: int(value) for value in used}

    def _check_range(self, used: Sequence[Any], count: int, name: str) -> None:
        outside = [value for value in used if not 0 <= int(value) < count]
        if outside:
            raise DataError(
                f"dataset {name}: expected labels from 0 to {count - 1}, since so many classes have names, found "
                f"{outside[0]}; name all classes, those of all splits alike"
            )


def shared_classes(columns: Mapping[str, tuple[Any, Dataset, str]]) -> Classes | None:
    """The classes that all splits are counted by; None where all have bare integers.

    Those of a `datasets.ClassLabel`: of the split ``train``, else of the split with most of them. Otherwise those of
    text labels in all splits together, see `names.unify`.

    Args:
        columns: for each split with labels the column's feature, the dataset and the column's name.
    """
    named = {split: list(f.names) for split, (f, _, _) in columns.items() if isinstance(f, ClassLabel) and f.names}
    if named:
        source = max(named, key=lambda split: (split == "train", len(named[split])))
        return Classes(named[source], source)
    spelled = {split: _texts(dataset, column) for split, (f, dataset, column) in columns.items() if is_text(f)}
    if any(spelled.values()):
        names, ids = unify(spelled)
        return Classes(names, next(iter(spelled)), ids)
    if columns and all(is_truth(feature) for feature, _, _ in columns.values()):
        return Classes(["False", "True"], next(iter(columns)))
    return None


def _texts(dataset: Dataset, column: str) -> list[str]:
    return sorted({value for value in dataset.with_format(None)[column][:] if not _is_missing(value)})


def _is_missing(value: Any) -> bool:
    """Whether a label is missing: null, blank, or a marker of unpublished labels."""
    return value is None or (isinstance(value, str) and not clean(value)) or (type(value) is int and value == -1)
