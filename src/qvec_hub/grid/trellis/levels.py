"""From trellis codes to levels: what a code stands for depends on the codes of the rows above it.

The *state* of a weight is the number whose digits are its own code, the last, and the few above it in the same column;
above the first row all codes are 0. A table gives every state's level, an integer from -127 to 127. So a weight with
`fan` codes to choose from has `fan` levels, which are others in every row, and a path through them comes nearer to a
column of weights than levels that never change: trellis-coded quantization (Marcellin & Fischer, 1990), with the shift
register of QTIP (Tseng et al., 2024, arXiv 2406.11235) and tables fitted to normally distributed weights
(``benchmarks/trellis_tables.py``).
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import torch
from torch import Tensor

__all__ = ["FANS", "deviation", "levels_of", "table_of"]

FANS = (3, 4, 8)  # numbers of codes that there are tables for


def levels_of(codes: Tensor, fan: int) -> Tensor:
    """The levels of codes ``(rows, …)`` uint8, float32 in the same shape; a column's codes are read downwards."""
    if torch.compiler.is_compiling():  # one opaque operator: the table is not for tracing
        return _levels_op(codes, fan)
    return _levels(codes, fan)


def _levels(codes: Tensor, fan: int) -> Tensor:
    table = _on(fan, codes.device)
    states = codes.to(torch.uint8 if len(table) <= 256 else torch.int16, copy=True)
    for above in range(1, _length(fan)):
        states[above:] += codes[:-above].to(states.dtype) * fan**above
    return table.index_select(0, states.flatten().int()).view(codes.shape)


_levels_op = torch.library.custom_op("qvec_hub::levels", _levels, mutates_args=())


@_levels_op.register_fake
def _(codes: Tensor, fan: int) -> Tensor:
    return torch.empty_like(codes, dtype=torch.float32)


def deviation(fan: int) -> float:
    """Levels per standard deviation of the normally distributed weights that a table was fitted to."""
    return float(_tables()[str(fan)]["deviation"])


@cache
def table_of(fan: int) -> Tensor:
    """The level of every state, float32 ``(states,)``; their number is a power of `fan`."""
    return torch.tensor(_tables()[str(fan)]["levels"], dtype=torch.float32)


@cache
def _on(fan: int, device: torch.device) -> Tensor:
    return table_of(fan).to(device)


@cache
def _length(fan: int) -> int:
    """How many codes a state consists of."""
    states, length = len(table_of(fan)), 0
    while fan**length < states:
        length += 1
    return length


@cache
def _tables() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(resources.files(__package__).joinpath("tables.json").read_text())
    return found
