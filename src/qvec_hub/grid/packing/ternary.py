"""Ternary codes: five in a byte."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .layout import TERNARY_PER_BYTE

__all__ = ["pack_ternary", "unpack_ternary"]


def pack_ternary(codes: Tensor) -> Tensor:
    """Codes 0, 1, 2, uint8 ``(n,)`` -> uint8 ``(ceil(n / 5),)``; the last byte is filled with zeros."""
    words = F.pad(codes, (0, -len(codes) % TERNARY_PER_BYTE)).view(-1, TERNARY_PER_BYTE)
    packed = words[:, -1].clone()
    for place in range(TERNARY_PER_BYTE - 2, -1, -1):
        packed.mul_(3).add_(words[:, place])
    return packed


def unpack_ternary(packed: Tensor, count: int, dtype: torch.dtype, offset: int) -> Tensor:
    """The first `count` codes plus `offset`, ``(count,)`` of `dtype`; a byte beyond 242 holds no codes."""
    table = _table(dtype, offset, packed.device)
    return table.index_select(0, packed.int()).view(-1)[:count]


@cache
def _table(dtype: torch.dtype, offset: int, device: torch.device) -> Tensor:
    """Row `b` holds the codes of byte `b`, plus the offset: ``(256, 5)``."""
    powers = 3 ** torch.arange(TERNARY_PER_BYTE)
    return (torch.arange(256).unsqueeze(1) // powers % 3 + offset).to(dtype).to(device)
