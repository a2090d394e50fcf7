"""The merge methods of peft: TIES (arXiv 2306.01708), DARE (arXiv 2311.03099) and pruning by magnitude."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from .registry import merge_method

__all__ = ["dare_linear", "dare_ties", "magnitude_prune", "ties"]


@merge_method("ties", "the largest numbers, with the sign that most of them have (TIES)", prunes=True)
def ties(tensors: list[Tensor], shares: Sequence[float], density: float) -> Tensor:
    return _merged("ties", tensors, shares, density)


@merge_method("dare_linear", "random numbers dropped and the rest enlarged, then the mean (DARE)", prunes=True)
def dare_linear(tensors: list[Tensor], shares: Sequence[float], density: float) -> Tensor:
    return _merged("dare_linear", tensors, shares, density)


@merge_method("dare_ties", "random numbers dropped, then TIES (DARE-TIES)", prunes=True)
def dare_ties(tensors: list[Tensor], shares: Sequence[float], density: float) -> Tensor:
    return _merged("dare_ties", tensors, shares, density)


@merge_method("magnitude_prune", "the smallest numbers dropped, then the mean", prunes=True)
def magnitude_prune(tensors: list[Tensor], shares: Sequence[float], density: float) -> Tensor:
    return _merged("magnitude_prune", tensors, shares, density)


def _merged(function: str, tensors: list[Tensor], shares: Sequence[float], density: float) -> Tensor:
    from peft.utils import merge_utils  # takes seconds, and most merges are means

    # Where signs are elected, peft divides by how many vectors agree: weights are then 1 on average, not in sum.
    factor = len(tensors) if function.endswith("ties") else 1
    weights = torch.tensor([share * factor for share in shares])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The density")  # 1 means that nothing is pruned, as was asked
        merged: Tensor = getattr(merge_utils, function)(tensors, weights, density)
    return merged
