"""DARE (arXiv 2311.03099), then TIES."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .by_peft import merge_by_peft
from .registry import merge_method

__all__ = ["dare_ties"]


@merge_method("dare_ties", "random numbers dropped, then TIES (DARE-TIES)", prunes=True)
def dare_ties(tensors: list[Tensor], shares: Sequence[float], density: float) -> Tensor:
    return merge_by_peft("dare_ties", tensors, shares, density)
