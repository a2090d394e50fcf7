"""What the merge methods of peft have in common."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["merge_by_peft"]


def merge_by_peft(function: str, tensors: list[Tensor], shares: Sequence[float], density: float) -> Tensor:
    """A function of `peft.utils.merge_utils` on some tensors.

    Args:
        shares: of the vectors, 1 in sum. density: share of each tensor's numbers that is kept.
    """
    from peft.utils import merge_utils  # takes seconds, and most merges are means

    # Where signs are elected, peft divides by how many vectors agree: weights are then 1 on average, not in sum.
    factor = len(tensors) if function.endswith("ties") else 1
    weights = torch.tensor([share * factor for share in shares])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The density")  # 1 means that nothing is pruned, as was asked
        merged: Tensor = getattr(merge_utils, function)(tensors, weights, density)
    return merged
