"""From trellis codes to levels: what a code stands for depends on the codes of the rows above it.

The *state* of a weight is its own code and the last few above it in the same column, the own one in the lowest bits;
above the first row all codes are 0. A table gives every state's level, an integer from -127 to 127. So `b` bits a
weight choose among ``2**b`` levels, which are others in every row, and a path through them comes nearer to a column of
weights than levels that never change: trellis-coded quantization (Marcellin & Fischer, 1990), with the shift register
of QTIP (Tseng et al., 2024, arXiv 2406.11235) and tables fitted to normally distributed weights
(``benchmarks/trellis_tables.py``).
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

import torch
from torch import Tensor

__all__ = ["WIDTHS", "deviation", "levels_of", "table_of"]

WIDTHS = (2, 3)


def levels_of(codes: Tensor, bits: int) -> Tensor:
    """The levels of codes ``(rows, …)`` uint8, float32 in the same shape; a column's codes are read downwards."""
    if torch.compiler.is_compiling():  # one opaque operator: the table is not for tracing
        return _levels_op(codes, bits)
    return _levels(codes, bits)


def _levels(codes: Tensor, bits: int) -> Tensor:
    table = _on(bits, codes.device)
    states = codes.to(torch.uint8 if len(table) <= 256 else torch.int16, copy=True)  # the oldest codes fall out
    for above in range(1, _length(bits)):
        states[above:] += codes[:-above].to(states.dtype) << bits * above
    return table.index_select(0, states.flatten().int()).view(codes.shape)


_levels_op = torch.library.custom_op("qvec_hub::levels", _levels, mutates_args=())


@_levels_op.register_fake
def _(codes: Tensor, bits: int) -> Tensor:
    return torch.empty_like(codes, dtype=torch.float32)


def deviation(bits: int) -> float:
    """Levels per standard deviation of the normally distributed weights that a table was fitted to."""
    return float(_tables()[str(bits)]["deviation"])


@cache
def table_of(bits: int) -> Tensor:
    """The level of every state, float32 ``(states,)``; their number is a power of ``2**bits``."""
    return torch.tensor(_tables()[str(bits)]["levels"], dtype=torch.float32)


@cache
def _on(bits: int, device: torch.device) -> Tensor:
    return table_of(bits).to(device)


@cache
def _length(bits: int) -> int:
    """How many codes a state consists of."""
    return (len(table_of(bits)).bit_length() - 1) // bits


@cache
def _tables() -> dict[str, dict[str, object]]:
    return json.loads(resources.files(__package__).joinpath("tables.json").read_text())
