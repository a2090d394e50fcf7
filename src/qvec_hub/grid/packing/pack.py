"""Codes -> bytes."""

import torch
from torch import Tensor

from .layout import LAYOUTS, TERNARY, packed_size
from .ternary import pack_ternary

__all__ = ["pack"]


def pack(codes: Tensor, bits: float, overwrite: bool = False) -> Tensor:
    """Codes ``0 … 2**bits - 1``, ternary ``0 … 2``, uint8 of any shape -> uint8 ``(packed_size(n, bits),)``.

    With `overwrite` the memory of `codes` serves as scratch: fresh memory would cost more than the work.
    """
    flat = codes.reshape(-1)
    if bits == TERNARY:
        return pack_ternary(flat)
    bits = int(bits)
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
    for width in LAYOUTS[bits].fields:
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
    if LAYOUTS[bits].codes_per_word == 1:
        return codes
    if LAYOUTS[bits].codes_per_word == 2:
        pairs, low = codes.view(torch.int16), 2**bits - 1
        moved = (pairs >> (8 - bits)).bitwise_and_(low << bits)
        return pairs.bitwise_and_(low).bitwise_or_(moved)
    quads = codes.view(torch.int32)  # 2 and 3 bits: a code shifted down leaves nothing behind
    pair = 2 ** (2 * bits) - 1
    moved = (quads >> (8 - bits)).bitwise_or_(quads).bitwise_and_(pair << 16 | pair)
    torch.bitwise_right_shift(moved, 16 - 2 * bits, out=quads)
    return quads.bitwise_or_(moved).bitwise_and_(2 ** (4 * bits) - 1)


def _pack_tail(codes: list[int], bits: int, device: torch.device) -> Tensor:
    value = sum(code << (bits * position) for position, code in enumerate(codes))
    return torch.tensor(list(value.to_bytes(packed_size(len(codes), bits), "little")), dtype=torch.uint8, device=device)
