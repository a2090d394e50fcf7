"""One vector out of many, computed tensor by tensor as it is used."""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..errors import MisfitError, QVecError
from ..util.scalars import number_in
from ..util.untrusted import printable
from .vector import QuantizationVector

__all__ = ["METHODS", "merge"]


def merge(
    vectors: Sequence[QuantizationVector],
    method: str = "mean",
    weights: Sequence[float] | None = None,
    *,
    density: float = 0.5,
    seed: int = 0,
) -> QuantizationVector:
    """One vector that says what several of one base and grid say together.

    ``mean``: the weighted mean. ``norm_mean``: its direction, as long in every tensor as the vectors are there on
    average, since nearly orthogonal vectors shrink when averaged. ``ties`` (arXiv 2306.01708), ``dare_linear``,
    ``dare_ties`` (arXiv 2311.03099) and ``magnitude_prune``: peft's tensor functions. Only one tensor of each vector
    is in memory at a time.

    Args:
        weights: how much each vector counts; only their ratios matter. By default all count the same.
        density: share of each tensor's numbers that the last four keep.
        seed: of what DARE drops.

    Raises:
        MisfitError: when they differ in base, architecture or grid; it says in what.
        QVecError: when the list is empty, the method unknown, or weights or density are none.
    """
    shares = _shares(vectors, weights)
    if method not in METHODS:
        raise QVecError(f"merge: expected a method of {', '.join(map(repr, METHODS))}, found {method!r}")
    share = number_in(density)
    if share is None or not 0 < share <= 1:
        raise QVecError(f"merge: density: expected a share above 0, at most 1, found {printable(repr(density), 60)}")
    density = share
    if len(vectors) == 1:
        return vectors[0]
    _refuse_differing(vectors)
    combine = partial(METHODS[method], shares=shares, density=density)

    def tensor(name: str) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(f"{seed} {name}".encode()))
            return combine([vector[name] for vector in vectors])

    merged = vectors[0].combined(list(zip(shares, vectors, strict=True)), tensor)
    about = {"density": density} if method in PRUNING else {}
    return merged.with_config(recipe={"name": "merge", "method": method, **about})


Combine = Callable[..., Tensor]


def _mean(tensors: list[Tensor], shares: Sequence[float], density: float) -> Tensor:
    total = torch.zeros_like(tensors[0])
    for share, tensor in zip(shares, tensors, strict=True):
        total.add_(tensor, alpha=share)
    return total


def _norm_mean(tensors: list[Tensor], shares: Sequence[float], density: float) -> Tensor:
    mean = _mean(tensors, shares, density)
    length = sum(share * float(tensor.norm()) for share, tensor in zip(shares, tensors, strict=True))
    return mean * (length / float(mean.norm())) if bool(mean.any()) else mean


def _by_peft(function: str, tensors: list[Tensor], shares: Sequence[float], density: float) -> Tensor:
    from peft.utils import merge_utils  # takes seconds, and most merges are means

    # Where signs are elected, peft divides by how many vectors agree: weights are then 1 on average, not in sum.
    factor = len(tensors) if function.endswith("ties") else 1
    weights = torch.tensor([share * factor for share in shares])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The density")  # 1 means that nothing is pruned, as was asked
        merged: Tensor = getattr(merge_utils, function)(tensors, weights, density)
    return merged


PRUNING = ("ties", "dare_linear", "dare_ties", "magnitude_prune")
METHODS: dict[str, Combine] = {
    "mean": _mean,
    "norm_mean": _norm_mean,
    **{name: partial(_by_peft, name) for name in PRUNING},
}


def _shares(vectors: Sequence[QuantizationVector], weights: Sequence[float] | None) -> list[float]:
    """The weights, as parts of 1."""
    if not vectors:
        raise QVecError("merge: expected at least one vector, found an empty list")
    given = [1.0] * len(vectors) if weights is None else _listed(weights)
    numbers = [number for number in map(number_in, given) if number is not None and number >= 0]
    total = sum(numbers)
    if len(given) != len(vectors) or len(numbers) != len(given) or not 0 < total < math.inf:
        raise QVecError(
            f"merge: weights: expected {len(vectors)} numbers that are not negative nor all zero, one a vector, found "
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
