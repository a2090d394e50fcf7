"""The weighted mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .registry import merge_method

__all__ = ["mean"]


@merge_method("mean", "the weighted mean")
def mean(tensors: list[Tensor], shares: Sequence[float], density: float) -> Tensor:
    total = torch.zeros_like(tensors[0])
    for share, tensor in zip(shares, tensors, strict=True):
        total.add_(tensor, alpha=share)
    return total
