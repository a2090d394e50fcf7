"""The registry of merge methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ...util.registry import Registry

__all__ = ["MERGE_METHODS", "MergeMethod", "merge_method"]

# The vectors' tensors of one name, their shares (they sum to 1) and the density -> the merged tensor.
Combine = Callable[[list[Tensor], Sequence[float], float], Tensor]


@dataclass(frozen=True)
class MergeMethod:
    """A way to make one tensor out of several of one shape.

    Attributes:
        combine: called with the vectors' tensors of one name, their shares (at least 0, 1 in sum) and the density;
            returns a tensor of their shape and does not change them.
        prunes: whether it keeps a share of each tensor's numbers, the ``density``.
    """

    name: str
    about: str
    combine: Combine
    prunes: bool = False


MERGE_METHODS: Registry[MergeMethod] = Registry("merge")


def merge_method(name: str, about: str, *, prunes: bool = False) -> Callable[[Combine], Combine]:
    """Register the decorated function; see `MergeMethod` for the arguments."""

    def enter(combine: Combine) -> Combine:
        MERGE_METHODS.add(MergeMethod(name, about, combine, prunes))
        return combine

    return enter
