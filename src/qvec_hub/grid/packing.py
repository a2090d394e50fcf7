"""Codes of 2 to 8 bits ⇄ bytes, dense: ``n`` codes take exactly ``ceil(n * bits / 8)`` bytes.

The codes are taken in row-major order. All but the last ``n % 8`` of them form *words* of up to 8 or
more bits, and each word is cut into *fields* of 8, 4 or 2 bits, one field a plane:

    3 bits: a word is 4 codes        bit 11 10  9 │ 8  7  6 │ 5  4  3 │ 2  1  0
                                        code 3    │ code 2  │ code 1  │ code 0
                                     └─ field 1 ─┘└────────── field 0 ────────┘

    the bytes:   field 0 of every word, one a byte        (plane 0)
                 field 1 of words 0 … m-1 in low nibbles,  (plane 1)
                 of words m … 2m-1 in high nibbles
                 the last n % 8 codes, little end first    (tail)

So a plane is read and written in long contiguous runs, and a word is an index into a small table that
holds all codes of the word side by side: unpacking 3 bits is one lookup for every four weights.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

__all__ = ["pack", "packed_size", "unpack"]


@dataclass(frozen=True)
class _Layout:
    codes_per_word: int
    fields: tuple[int, ...]  # widths in bits, lowest first; they add up to bits * codes_per_word


_LAYOUTS = {
    2: _Layout(4, (8,)),
    3: _Layout(4, (8, 4)),
    4: _Layout(2, (8,)),
    5: _Layout(2, (8, 2)),
    6: _Layout(2, (8, 4)),
    7: _Layout(2, (8, 4, 2)),
    8: _Layout(1, (8,)),
}


def packed_size(count: int, bits: int) -> int:
    """Bytes that `count` codes of `bits` bits take."""
    return -(-count * bits // 8)


def pack(codes: Tensor, bits: int, overwrite: bool = False) -> Tensor:
    """Codes ``0 … 2**bits - 1``, uint8 of any shape -> uint8 ``(packed_size(n, bits),)``.

    With `overwrite` the memory of `codes` serves as scratch: fresh memory would cost more than the work.
    """
    flat = codes.reshape(-1)
    split = flat.numel() // 8 * 8
    packed = torch.empty(packed_size(flat.numel(), bits), dtype=torch.uint8, device=codes.device)
    if split < flat.numel():  # first, while the codes are whole
        packed[packed_size(split, bits) :] = _pack_tail(flat[split:].tolist(), bits, codes.device)
    if split:
        _pack_words(flat[:split] if overwrite else flat[:split].clone(), bits, packed)
    return packed


def _pack_words(codes: Tensor, bits: int, packed: Tensor) -> None:
    """Write the planes of a multiple of 8 codes; destroys the codes."""
    words = _join_(codes, bits)
    start, offset = 0, 0
    for width in _LAYOUTS[bits].fields:
        count = words.numel() * width // 8
        plane = packed[start : start + count]
        if offset:
            words >>= offset
        if width == 8:
            plane.copy_(words)  # keeps the low 8 bits
        else:
            runs = words.to(torch.uint8).bitwise_and_(2**width - 1).view(8 // width, count)
            plane.copy_(runs[0])
            for position in range(1, 8 // width):
                plane |= runs[position].bitwise_left_shift_(width * position)
        start, offset = start + count, width


def _join_(codes: Tensor, bits: int) -> Tensor:
    """Bytes with one code each -> words: neighbours are moved together, then neighbouring pairs."""
    if _LAYOUTS[bits].codes_per_word == 1:
        return codes
    if _LAYOUTS[bits].codes_per_word == 2:
        pairs, low = codes.view(torch.int16), 2**bits - 1
        moved = (pairs >> (8 - bits)).bitwise_and_(low << bits)
        return pairs.bitwise_and_(low).bitwise_or_(moved)
    quads = codes.view(torch.int32)  # 2 and 3 bits: a code shifted down leaves nothing behind
    pair = 2 ** (2 * bits) - 1
    moved = (quads >> (8 - bits)).bitwise_or_(quads).bitwise_and_(pair << 16 | pair)
    torch.bitwise_right_shift(moved, 16 - 2 * bits, out=quads)
    return quads.bitwise_or_(moved).bitwise_and_(2 ** (4 * bits) - 1)


def unpack(packed: Tensor, bits: int, count: int, dtype: torch.dtype = torch.float32, offset: int = 0) -> Tensor:
    """The first `count` codes plus `offset`, as a flat tensor ``(count,)`` of `dtype`.

    `offset` turns stored codes into signed ones (a grid's ``qmin``) at no cost: it is part of the table.
    """
    if torch.compiler.is_compiling():  # one opaque operator: the table and the tail are not for tracing
        return _unpack_op(packed, bits, count, dtype, offset)
    return _unpack(packed, bits, count, dtype, offset)


def _unpack(packed: Tensor, bits: int, count: int, dtype: torch.dtype, offset: int) -> Tensor:
    if bits == 8:
        return packed.to(dtype).add_(offset)
    split = count // 8 * 8
    layout = _LAYOUTS[bits]
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
def _(packed: Tensor, bits: int, count: int, dtype: torch.dtype, offset: int) -> Tensor:
    return packed.new_empty(count, dtype=dtype)


def _words(packed: Tensor, bits: int, count: int) -> Tensor:
    """The table index of every word: int32 ``(count,)``."""
    fields = _LAYOUTS[bits].fields
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
    per_word = _LAYOUTS[bits].codes_per_word
    words = torch.arange(2 ** (bits * per_word)).unsqueeze(1)
    shifts = torch.arange(per_word) * bits
    return (((words >> shifts) & (2**bits - 1)) + offset).to(dtype).to(device)


def _pack_tail(codes: list[int], bits: int, device: torch.device) -> Tensor:
    value = sum(code << (bits * position) for position, code in enumerate(codes))
    return torch.tensor(list(value.to_bytes(packed_size(len(codes), bits), "little")), dtype=torch.uint8, device=device)


def _unpack_tail(data: list[int], bits: int, count: int) -> list[int]:
    value = int.from_bytes(bytes(data), "little")
    return [(value >> (bits * position)) & (2**bits - 1) for position in range(count)]
