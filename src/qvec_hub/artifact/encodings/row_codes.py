"""Integer codes and one float32 scale a row, by the same least-squares rule that rounds weights (range ``mse``).

Tensor ``x`` then has the entries ``x.int2`` (packed codes, uint8), ``x.scale`` (float32, one a row) and ``x.shape``
(int64).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ...grid.grid import Grid
from ...grid.packing import pack, packed_size, unpack
from ...grid.quantize import dequantize, quantize
from .registry import Shape, TensorEncoding, encoding

__all__ = ["RowCodes"]


class RowCodes(TensorEncoding):
    """Codes of `bits` bits on a symmetric grid with one scale a row, rounded to nearest."""

    @property
    def grid(self) -> Grid:
        """The grid that the rows are rounded to."""
        return Grid(bits=self.bits, granularity="channel", range="mse")

    def layout(self, shape: Shape) -> dict[str, tuple[torch.dtype, Shape]]:
        return {
            self.name: (torch.uint8, (packed_size(math.prod(shape), self.bits),)),
            "scale": (torch.float32, shape[:1]),
            "shape": (torch.int64, (len(shape),)),
        }

    def encode(self, tensor: Tensor) -> dict[str, Tensor]:
        rounded = quantize(tensor.reshape(len(tensor), -1), self.grid)
        return {
            self.name: pack(rounded.codes, self.bits),
            "scale": rounded.scale.reshape(-1).contiguous(),
            "shape": torch.tensor(tensor.shape),
        }

    def decode(self, parts: Mapping[str, Tensor], shape: Shape) -> Tensor:
        codes = unpack(parts[self.name], self.bits, math.prod(shape), dtype=torch.uint8).view(shape[0], -1)
        return dequantize(codes, parts["scale"].unsqueeze(1), None, self.grid).view(shape)


encoding("int8", "8-bit codes with a scale a row", bits=8)(RowCodes)
encoding("int4", "4-bit codes with a scale a row", bits=4)(RowCodes)
encoding("int2", "2-bit codes with a scale a row", bits=2)(RowCodes)
