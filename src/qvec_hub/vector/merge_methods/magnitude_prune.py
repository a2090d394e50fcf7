"""The mean of what is left when the smallest numbers are dropped."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .by_peft import merge_by_peft
from .registry import merge_method

__all__ = ["magnitude_prune"]


@merge_method("magnitude_prune", "the smallest numbers dropped, then the mean", prunes=True)
def magnitude_prune(tensors: list[Tensor], shares: Sequence[float], density: float) -> Tensor:
    return merge_by_peft("magnitude_prune", tensors, shares, density)
