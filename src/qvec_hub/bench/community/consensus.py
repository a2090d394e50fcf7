"""Combine rows of several submitters: a repeated measurement counts once, a contradicted one does not count."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ...results.row import Row
from ...util.untrusted import printable
from ..context import Context
from .read_rows import Placed, Rejection

__all__ = ["Said", "agreed_context", "agreed_rows"]

# Counts and their circumstances; all other fields identify the measurement.
COUNTED = {"n", "correct", "correct_top5", "top1", "wall_s", "versions", "device", "created"}
MEASURED = [field.name for field in dataclasses.fields(Row) if field.name not in COUNTED]
_KINDS = [field.name for field in dataclasses.fields(Context)]


class Said(NamedTuple):
    """A context and the file it was read from."""

    where: str
    context: Context


def agreed_rows(rows: Iterable[Placed]) -> tuple[list[Placed], list[Rejection]]:
    """Keep the first row of each measurement, and reject all rows of one that was counted differently.

    Rows that differ in nothing but device, versions and times are one measurement. Statistics use one row of each, so
    a silent choice between two counts would be arbitrary.
    """
    groups: dict[tuple[Any, ...], list[Placed]] = {}
    for placed in rows:
        groups.setdefault(tuple(getattr(placed.row, name) for name in MEASURED), []).append(placed)
    agreed, rejected = [], []
    for group in groups.values():
        if len({_counts(placed) for placed in group}) == 1:
            agreed.append(group[0])
            continue
        for placed in group:
            other = next(each for each in group if _counts(each) != _counts(placed))
            rejected.append(Rejection(placed.where, _contradiction(placed, other)))
    return agreed, rejected


def _counts(placed: Placed) -> tuple[int, int]:
    return placed.row.correct, placed.row.n


def _contradiction(placed: Placed, other: Placed) -> str:
    (correct, n), (theirs, shown) = _counts(placed), _counts(other)
    reason = f"counts {correct} of {n} where {other.where} counts {theirs} of {shown}; neither was taken"
    if placed.row.receiver_revision is None:
        reason += (
            ". Its receiver has no revision, so these may be two models of one name: publish it and name the commit"
        )
    return reason


def agreed_context(said: Sequence[Said]) -> tuple[Context, list[Rejection]]:
    """Join contexts; a name that two of them describe differently is left out, and both are rejected."""
    merged: dict[str, dict[str, Any]] = {}
    rejected = []
    for kind in _KINDS:
        first: dict[str, tuple[str, Any]] = {}
        disputed: dict[str, None] = {}
        for where, context in said:
            known: Mapping[str, Any] = getattr(context, kind)
            for name, value in known.items():
                there, before = first.setdefault(name, (where, value))
                if before != value:
                    disputed[name] = None
                    rejected += _dispute(kind, name, there, where)
        merged[kind] = {name: value for name, (_, value) in first.items() if name not in disputed}
    return Context(**merged), list(dict.fromkeys(rejected))


def _dispute(kind: str, name: str, first: str, second: str) -> list[Rejection]:
    what = f"says something else of {kind} {printable(repr(name), 80)} than"
    return [Rejection(one, f"{what} {other}; neither was taken") for one, other in ((first, second), (second, first))]
