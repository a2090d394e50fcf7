"""Codes of 2 to 8 bits, or ternary ones, ⇄ bytes, dense: ``n`` codes take exactly ``ceil(n * bits / 8)`` bytes.

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

Five ternary codes 0, 1, 2 form a word, a byte: the digits of a number to the base 3, the first the lowest.
"""

from dataclasses import dataclass

__all__ = ["LAYOUTS", "TERNARY", "TERNARY_PER_BYTE", "Layout", "packed_size"]

TERNARY = 1.6  # bits of a ternary code
TERNARY_PER_BYTE = 5


@dataclass(frozen=True)
class Layout:
    """How the codes of one width form words and fields."""

    codes_per_word: int
    fields: tuple[int, ...]  # widths in bits, lowest first; they add up to bits * codes_per_word


LAYOUTS = {
    2: Layout(4, (8,)),
    3: Layout(4, (8, 4)),
    4: Layout(2, (8,)),
    5: Layout(2, (8, 2)),
    6: Layout(2, (8, 4)),
    7: Layout(2, (8, 4, 2)),
    8: Layout(1, (8,)),
}


def packed_size(count: int, bits: float) -> int:
    """Bytes that `count` codes of `bits` bits take."""
    return -(-count // TERNARY_PER_BYTE) if bits == TERNARY else -(-count * int(bits) // 8)
