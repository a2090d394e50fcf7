"""Compare class names: decide whether two spellings name the same class."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from ..errors import DataError

__all__ = ["are_numbers", "are_placeholders", "clean", "match", "some", "unify"]


def clean(name: str) -> str:
    """A name as people see it: composed Unicode (NFC), without invisible characters or space around it."""
    visible = "".join(each for each in str(name) if unicodedata.category(each) not in ("Cf", "Cc"))
    return unicodedata.normalize("NFC", visible).strip()


def _loose(name: str) -> str:
    """Without case, and with underscores, hyphens and any space alike."""
    folded = unicodedata.normalize("NFKC", clean(name).casefold())
    return unicodedata.normalize("NFC", re.sub(r"[\s_-]+", " ", folded).strip())


def _number(name: str) -> str:
    """As `_loose`, with numbers by their value: ``"07"`` is ``"7"``."""
    loose = _loose(name)
    return str(int(loose)) if loose.isdecimal() else loose


SPELLINGS: tuple[Callable[[str], str], ...] = (str, clean, _loose, _number)  # from the strictest to the most tolerant


def match(names: Sequence[str], others: Sequence[str]) -> list[int] | None:
    """For each name the index of the same name in `others`; None unless every name has exactly one.

    Takes the strictest of four comparisons by which all names match: as written; as displayed (see `clean`); ignoring
    case, underscores and hyphens; and with numbers by their value.
    """
    for strict, spelled in zip((True, True, False, False), SPELLINGS, strict=True):
        ours, theirs = [spelled(name) for name in names], [spelled(name) for name in others]
        if strict and ours == theirs:  # also with a name that two classes have
            return list(range(len(ours)))
        places, counts = {name: place for place, name in enumerate(theirs)}, Counter(theirs)
        if len(set(ours)) == len(ours) and all(counts[name] == 1 for name in ours):
            return [places[name] for name in ours]
    return None


def unify(spelled: Mapping[str, Collection[str]]) -> tuple[list[str], dict[str, int]]:
    """Build one list of classes for splits with text labels, and the id of every spelling.

    Classes are sorted as text, as ``imagefolder`` and torchvision sort folders. Spellings of different splits that
    differ only in case, underscores or leading zeros are one class; within one split they are two.

    Args:
        spelled: the names that occur in each split.

    Raises:
        DataError: when a name may be one of several classes of another split.
    """
    ordered = sorted(spelled, key=lambda split: split != "train")
    first: dict[str, str] = {}  # name as seen -> its first spelling
    for split in ordered:
        for name in sorted(spelled[split]):
            first.setdefault(clean(name), name)
    alike: dict[str, list[str]] = {}
    for name in first:
        alike.setdefault(_number(name), []).append(name)
    same = {name: _same(names, spelled) for names in alike.values() for name in names}
    merged = {name: names[0] if same[name] else name for names in alike.values() for name in names}
    classes = sorted(set(merged.values()), key=lambda name: first[name])
    places = {name: place for place, name in enumerate(classes)}
    return classes, {name: places[merged[clean(name)]] for split in ordered for name in spelled[split]}


def _same(names: Sequence[str], spelled: Mapping[str, Collection[str]]) -> bool:
    """Whether names that are alike are one class; see `unify`."""
    seen = {split: {clean(name) for name in found} & set(names) for split, found in spelled.items()}
    apart = set().union(*(found for found in seen.values() if len(found) > 1))
    unknown = [name for name in names if name not in apart]
    if apart and unknown:
        split = next(split for split, found in seen.items() if unknown[0] in found)
        raise DataError(
            f"split {split!r}: expected class names as in the other splits, found {unknown[0]!r}, which may be any "
            f"of {some(sorted(apart))}; spell it like one of them"
        )
    return not apart


def are_numbers(names: Sequence[str]) -> list[int] | None:
    """The values of names that are all whole numbers, else None."""
    loose = [_loose(name) for name in names]
    return [int(name) for name in loose] if all(name.isdecimal() for name in loose) else None


def are_placeholders(names: Sequence[str]) -> bool:
    """Whether names say no more than their ids: ``LABEL_0`` …, ``0`` …, or False and True."""
    if all(re.fullmatch(r"LABEL_\d+", name) for name in names):
        return True
    return are_numbers(names) == list(range(len(names))) or [_loose(name) for name in names] == ["false", "true"]


def some(names: Sequence[str]) -> str:
    """The first eight names, quoted, for a message."""
    return ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")
