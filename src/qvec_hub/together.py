"""Rounding the many small weights of a model with few calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from .grids import Grid, fake_quantize
from .ranges import JOINT_RULES

__all__ = ["fake_quantize_all"]

ENOUGH = 1 << 20  # numbers in a call, from which on more of them save nothing and only cost memory


def fake_quantize_all(weights: Mapping[str, Tensor], grid: Grid) -> dict[str, Tensor]:
    """`fake_quantize` of each weight, to the bit; rows of one length go together where they do not interact."""
    if grid.granularity == "tensor" or grid.range in JOINT_RULES:
        return {name: fake_quantize(weight, grid) for name, weight in weights.items()}
    rounded: dict[str, Tensor] = {}
    for names in _alike(weights):
        rows = fake_quantize(torch.cat([weights[name] for name in names]), grid)
        rounded |= dict(zip(names, rows.split([len(weights[name]) for name in names]), strict=True))
    return rounded


def _alike(weights: Mapping[str, Tensor]) -> Iterator[list[str]]:
    """Names of weights that fit under each other, so many at a time that they hold `ENOUGH` numbers."""
    waiting: dict[Any, list[str]] = {}
    for name, weight in weights.items():
        key = (weight.shape[1:], weight.dtype, weight.device)
        names = waiting.setdefault(key, [])
        names.append(name)
        if sum(weights[each].numel() for each in names) >= ENOUGH:
            yield waiting.pop(key)
    yield from waiting.values()
