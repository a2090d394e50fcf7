"""Merge several vectors into one, computed tensor by tensor as it is used."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import MisfitError, QVecError
from ..util.scalars import number_in
from ..util.untrusted import printable
from . import merge_methods  # noqa: F401  # registers the methods of this package
from .merge_methods.registry import MERGE_METHODS
from .vector import QuantizationVector

__all__ = ["MERGE_METHODS", "merge"]


def merge(
    vectors: Sequence[QuantizationVector],
    method: str = "mean",
    weights: Sequence[float] | None = None,
    *,
    density: float = 0.5,
    seed: int = 0,
) -> QuantizationVector:
    """Merge vectors of one base and grid into one.

    Tensors are computed as they are used, so that only one tensor of each vector is in memory at a time.

    Args:
        vectors: one or more; a single vector is returned as it is.
        method: a registered merge method: ``"mean"``, ``"norm_mean"``, ``"ties"``, … (see `merge_methods`).
        weights: one number of at least 0 for each vector; they are divided by their sum. By default all are equal.
        density: share of each tensor's numbers that pruning methods keep, above 0 and at most 1.
        seed: seed of the numbers that DARE drops.

    Returns:
        A vector whose `sources` are the merged ones and whose recommended scale is 1.

    Raises:
        MisfitError: when the vectors differ in base, architecture or grid; the message says in what.
        QVecError: when the list is empty, the method is unknown, or weights or density are out of range.
    """
    shares = _shares(vectors, weights)
    chosen = MERGE_METHODS.get(method)
    share = number_in(density)
    if share is None or not 0 < share <= 1:
        raise QVecError(f"merge: density: expected a share above 0, at most 1, found {printable(repr(density), 60)}")
    density = share
    if len(vectors) == 1:
        return vectors[0]
    _refuse_differing(vectors)

    def tensor(name: str) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(f"{seed} {name}".encode()))
            return chosen.combine([vector[name] for vector in vectors], shares, density)

    merged = vectors[0].combined(list(zip(shares, vectors, strict=True)), tensor)
    about = {"density": density} if chosen.prunes else {}
    return merged.with_config(recipe={"name": "merge", "method": method, **about})


def _shares(vectors: Sequence[QuantizationVector], weights: Sequence[float] | None) -> list[float]:
    """The weights divided by their sum."""
    if not vectors:
        raise QVecError("merge: expected at least one vector, found an empty list")
    given = [1.0] * len(vectors) if weights is None else _listed(weights)
    numbers = [number for number in map(number_in, given) if number is not None and number >= 0]
    total = sum(numbers)
    if len(given) != len(vectors) or len(numbers) != len(given) or not 0 < total < math.inf:
        raise QVecError(
            f"merge: weights: expected {len(vectors)} numbers of at least 0, one a vector and not all zero, found "
            f"{printable(repr(weights))}"
        )
    return [number / total for number in numbers]


def _listed(weights: Any) -> list[Any]:
    try:
        return list(weights)
    except TypeError:  # one number, or a tensor without dimensions
        return []


def _refuse_differing(vectors: Sequence[QuantizationVector]) -> None:
    first = vectors[0]
    for other in vectors[1:]:
        first.refuse_unlike(other)
        if other.config.grid != first.config.grid:
            raise MisfitError(
                f"merge: expected vectors of one grid, found {first.config.grid.name} ({_named(first)}) and "
                f"{other.config.grid.name} ({_named(other)}); leave one out, or train donors on one grid"
            )


def _named(vector: QuantizationVector) -> str:
    return str(vector.origin or vector.folder or vector.config.donor.task or "unnamed")
