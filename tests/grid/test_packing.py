"""Packing against a bit-by-bit second implementation, over every width and many awkward sizes."""

import pytest
import torch

from qvec_hub.grid.packing import pack, packed_size, unpack

FIELDS = {2: (4, (8,)), 3: (4, (8, 4)), 4: (2, (8,)), 5: (2, (8, 2)), 6: (2, (8, 4)), 7: (2, (8, 4, 2)), 8: (1, (8,))}


def pack_slowly(codes: list[int], bits: int) -> bytes:
    """The layout of the module's docstring, one field at a time."""
    per_word, widths = FIELDS[bits]
    split = len(codes) // 8 * 8
    words = [sum(codes[start + i] << (bits * i) for i in range(per_word)) for start in range(0, split, per_word)]
    result, offset = bytearray(), 0
    for width in widths:
        run = len(words) * width // 8
        fields = [(word >> offset) & (2**width - 1) for word in words]
        result += bytes(sum(fields[j * run + i] << (width * j) for j in range(8 // width)) for i in range(run))
        offset += width
    tail = sum(code << (bits * i) for i, code in enumerate(codes[split:]))
    return bytes(result) + tail.to_bytes(-(-(len(codes) - split) * bits // 8), "little")


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize(
    "shape", [(n,) for n in range(34)] + [(7, 13), (1, 1), (5, 0), (0, 5), (3, 1), (96, 31), (64, 48)]
)
def test_round_trip_layout_and_size(bits: int, shape: tuple[int, ...]) -> None:
    codes = torch.randint(0, 2**bits, shape, dtype=torch.uint8)
    packed = pack(codes, bits)
    assert packed.dtype == torch.uint8
    assert packed.numel() == packed_size(codes.numel(), bits) == -(-codes.numel() * bits // 8)
    assert bytes(packed.tolist()) == pack_slowly(codes.flatten().tolist(), bits)
    assert torch.equal(unpack(packed, bits, codes.numel()), codes.flatten().float())


@pytest.mark.parametrize("bits", range(2, 9))
def test_every_code_survives_at_every_position(bits: int) -> None:
    codes = torch.arange(2**bits, dtype=torch.uint8)
    for position in range(8):
        row = torch.zeros(2**bits, 16, dtype=torch.uint8)
        row[:, position] = codes
        assert torch.equal(unpack(pack(row, bits), bits, row.numel()).view_as(row), row.float())


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int16])
def test_offset_and_dtype(bits: int, dtype: torch.dtype) -> None:
    codes = torch.randint(0, 2**bits, (5, 7), dtype=torch.uint8)
    offset = -(2 ** (bits - 1))
    values = unpack(pack(codes, bits), bits, 35, dtype, offset)
    assert values.dtype == dtype
    assert torch.equal(values, (codes.flatten().int() + offset).to(dtype))
