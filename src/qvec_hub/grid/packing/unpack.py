"""Bytes -> codes."""

from functools import cache

import torch
from torch import Tensor

from .layout import LAYOUTS, TERNARY, packed_size
from .ternary import unpack_ternary

__all__ = ["unpack"]


def unpack(packed: Tensor, bits: float, count: int, dtype: torch.dtype = torch.float32, offset: int = 0) -> Tensor:
    """The first `count` codes plus `offset`, as a flat tensor ``(count,)`` of `dtype`.

    `offset` turns stored codes into signed ones (a grid's ``qmin``) at no cost: it is part of the table.
    """
    if torch.compiler.is_compiling():  # one opaque operator: the table and the tail are not for tracing
        return _unpack_op(packed, bits, count, dtype, offset)
    return _unpack(packed, bits, count, dtype, offset)


def _unpack(packed: Tensor, bits: float, count: int, dtype: torch.dtype, offset: int) -> Tensor:
    if bits == TERNARY:
        return unpack_ternary(packed, count, dtype, offset)
    bits = int(bits)
    if bits == 8:
        return packed.to(dtype).add_(offset)
    split = count // 8 * 8
    layout = LAYOUTS[bits]
    out = torch.empty(count, dtype=dtype, device=packed.device)
    if split:
        table = _table(bits, dtype, offset, packed.device)  # (2**(bits * k), k)
        words = _words(packed, bits, split // layout.codes_per_word)
        torch.index_select(table, 0, words, out=out[:split].view(-1, layout.codes_per_word))
    if split < count:
        tail = _unpack_tail(packed[packed_size(split, bits) :].tolist(), bits, count - split)
        out[split:] = torch.tensor(tail, dtype=torch.float32, device=packed.device) + offset
    return out


_unpack_op = torch.library.custom_op("qvec_hub::unpack", _unpack, mutates_args=())


@_unpack_op.register_fake
def _(packed: Tensor, bits: float, count: int, dtype: torch.dtype, offset: int) -> Tensor:
    return packed.new_empty(count, dtype=dtype)


def _words(packed: Tensor, bits: int, count: int) -> Tensor:
    """The table index of every word: int32 ``(count,)``."""
    fields = LAYOUTS[bits].fields
    words = packed[:count].int()  # field 0 is always a whole byte
    start, offset = count, 8
    for width in fields[1:]:
        size = count * width // 8
        plane = packed[start : start + size].int()
        runs = words.view(8 // width, size)
        for position in range(8 // width):
            mask = (2**width - 1) << (width * position)
            runs[position].add_(plane & mask, alpha=2**offset >> (width * position))
        start, offset = start + size, offset + width
    return words


@cache
def _table(bits: int, dtype: torch.dtype, offset: int, device: torch.device) -> Tensor:
    """Row ``w`` holds the codes of word ``w``, plus the offset: ``(2**(bits * k), k)``."""
    per_word = LAYOUTS[bits].codes_per_word
    words = torch.arange(2 ** (bits * per_word)).unsqueeze(1)
    shifts = torch.arange(per_word) * bits
    return (((words >> shifts) & (2**bits - 1)) + offset).to(dtype).to(device)


def _unpack_tail(data: list[int], bits: int, count: int) -> list[int]:
    value = int.from_bytes(bytes(data), "little")
    return [(value >> (bits * position)) & (2**bits - 1) for position in range(count)]
