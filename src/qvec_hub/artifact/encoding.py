"""Encode a vector's tensors: in float32, or its matrices in 16, 8, 4 or 2 bits a number.

A matrix ``(rows, …)`` becomes integer codes and one float32 scale a row, by the same least-squares rule that rounds
weights (range ``mse``). Tensors without long rows (biases, norms, the class token) stay float32.

In the file, tensor ``x`` then has the entries ``x.int2`` (packed codes, uint8), ``x.scale`` (float32, one a row) and
``x.shape`` (int64); in bf16 it keeps its name.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence

import torch
from torch import Tensor

from ..errors import ArtifactError
from ..grid.grid import Grid
from ..grid.packing import pack, packed_size, unpack
from ..grid.quantize import dequantize, quantize

__all__ = ["ENCODINGS", "WIDTHS", "check_encoding", "decode", "encode", "planned", "relative_error", "split_name"]

WIDTHS = {"int8": 8, "int4": 4, "int2": 2}
ENCODINGS = ("float32", "bf16", *WIDTHS)
PARTS = (*WIDTHS, "scale", "shape")
SMALLEST_ROW = 16  # numbers; in shorter rows the scale would take too large a share of the file


def check_encoding(name: str) -> str:
    """Check the name of an encoding, and return it.

    Raises:
        ArtifactError: when there is no encoding of that name.
    """
    if name not in ENCODINGS:
        raise ArtifactError(f"encoding: expected one of {', '.join(ENCODINGS)}, found {name!r}")
    return name


def planned(name: str, shape: tuple[int, ...], encoding: str) -> dict[str, Tensor]:
    """The entries that `encode` makes from a tensor of this shape, as empty tensors on the meta device."""
    if encoding == "float32" or not _has_rows(shape):
        return {name: torch.empty(shape, device="meta")}
    if encoding == "bf16":
        return {name: torch.empty(shape, dtype=torch.bfloat16, device="meta")}
    size = packed_size(math.prod(shape), WIDTHS[encoding])
    return {
        f"{name}.{encoding}": torch.empty(size, dtype=torch.uint8, device="meta"),
        f"{name}.scale": torch.empty(shape[0], device="meta"),
        f"{name}.shape": torch.empty(len(shape), dtype=torch.int64, device="meta"),
    }


def encode(name: str, tensor: Tensor, encoding: str) -> dict[str, Tensor]:
    """Encode a float32 tensor: name of an entry in the file -> its content.

    Raises:
        GridError: when the tensor holds NaN or infinity.
    """
    tensor = tensor.contiguous()
    if encoding == "float32" or not _has_rows(tensor.shape):
        return {name: tensor}
    if encoding == "bf16":
        return {name: tensor.bfloat16()}
    grid = _grid(WIDTHS[encoding])
    rounded = quantize(tensor.reshape(len(tensor), -1), grid)
    return {
        f"{name}.{encoding}": pack(rounded.codes, grid.bits),
        f"{name}.scale": rounded.scale.reshape(-1).contiguous(),
        f"{name}.shape": torch.tensor(tensor.shape),
    }


def decode(codes: Tensor, scale: Tensor, shape: tuple[int, ...], bits: int) -> Tensor:
    """Decode the entries that `encode` wrote: float32, of `shape`."""
    count = math.prod(shape)
    unpacked = unpack(codes, bits, count, dtype=torch.uint8)
    return dequantize(unpacked.view(shape[0], -1), scale.unsqueeze(1), None, _grid(bits)).view(shape)


def split_name(stored: str, others: Container[str]) -> tuple[str, str | None]:
    """Split an entry's name into the tensor it belongs to and its part; the part is None for a whole tensor."""
    name, _, part = stored.rpartition(".")
    if part in PARTS and any(f"{name}.{width}" in others for width in WIDTHS):
        return name, part
    return stored, None


def relative_error(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """``‖ρ − ρ̂‖ / ‖ρ‖`` over all tensors."""
    lost = sum(float((before[name] - after[name]).double().square().sum()) for name in before)
    whole = sum(float(before[name].double().square().sum()) for name in before)
    return math.sqrt(lost / whole) if whole else 0.0


def _has_rows(shape: Sequence[int]) -> bool:
    return len(shape) > 1 and shape[0] > 1 and math.prod(shape[1:]) >= SMALLEST_ROW


def _grid(bits: int) -> Grid:
    return Grid(bits=bits, granularity="channel", range="mse")
