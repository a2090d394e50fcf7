"""TIES merging (arXiv 2306.01708)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .by_peft import merge_by_peft
from .registry import merge_method

__all__ = ["ties"]


@merge_method("ties", "the largest numbers, with the sign that most of them have (TIES)", prunes=True)
def ties(tensors: list[Tensor], shares: Sequence[float], density: float) -> Tensor:
    return merge_by_peft("ties", tensors, shares, density)
