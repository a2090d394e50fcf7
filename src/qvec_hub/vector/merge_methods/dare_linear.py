"""DARE (arXiv 2311.03099), then the mean."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .by_peft import merge_by_peft
from .registry import merge_method

__all__ = ["dare_linear"]


@merge_method("dare_linear", "random numbers dropped and the rest enlarged, then the mean (DARE)", prunes=True)
def dare_linear(tensors: list[Tensor], shares: Sequence[float], density: float) -> Tensor:
    return merge_by_peft("dare_linear", tensors, shares, density)
