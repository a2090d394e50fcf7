"""One vector out of many."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

from .errors import QVecError
from .vector import QuantizationVector

__all__ = ["merge"]


def merge(vectors: Sequence[QuantizationVector], method: str = "mean") -> QuantizationVector:
    """The mean of several vectors of one base, computed tensor by tensor as it is used.

    Raises:
        MisfitError: when they differ in base or architecture.
        QVecError: when the list is empty, the method unknown, or the grids differ.
    """
    if not vectors:
        raise QVecError("merge: expected at least one vector, found an empty list")
    if method != "mean":
        raise QVecError(f"merge: expected method 'mean', found {method!r}")
    grids = sorted({vector.config.grid.name for vector in vectors})
    if len(grids) > 1:
        raise QVecError(f"merge: the vectors were trained on different grids ({', '.join(grids)})")
    if len(vectors) == 1:
        return vectors[0]
    return (1 / len(vectors)) * reduce(add, vectors)
