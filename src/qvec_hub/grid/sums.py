"""Sums that are the same bits with any number of threads."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["mean_of_all", "unit_sums"]

SERIAL = 1 << 14  # numbers that are always summed by one thread; PyTorch shares a sum of 32,768 or more


def unit_sums(units: Tensor) -> Tensor:
    """The sum of each unit, ``(units, 1)``: the same bits with any number of threads.

    PyTorch shares units among threads, but a single long one it cuts into as many parts as there are threads.
    """
    if len(units) != 1 or units.shape[1] < 2 * SERIAL:
        return units.sum(dim=1, keepdim=True)
    whole = units.shape[1] // SERIAL * SERIAL
    parts = units[:, :whole].reshape(-1, SERIAL).sum(dim=1)
    return unit_sums(torch.cat([parts, units[0, whole:]]).unsqueeze(0))


def mean_of_all(values: Tensor) -> Tensor:
    """The mean of all numbers, a tensor without dimensions but one: ``(1, 1)``."""
    return unit_sums(values.reshape(1, -1)) / values.numel()
