"""The mean, with the length that the vectors have on average: nearly orthogonal vectors shrink when averaged."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .mean import mean
from .registry import merge_method

__all__ = ["norm_mean"]


@merge_method("norm_mean", "the mean's direction, as long in every tensor as the vectors are there on average")
def norm_mean(tensors: list[Tensor], shares: Sequence[float], density: float) -> Tensor:
    direction = mean(tensors, shares, density)
    length = sum(share * float(tensor.norm()) for share, tensor in zip(shares, tensors, strict=True))
    return direction * (length / float(direction.norm())) if bool(direction.any()) else direction
