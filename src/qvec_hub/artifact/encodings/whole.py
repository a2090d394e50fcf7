"""The tensor as it is, in one entry of one floating type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from .registry import WHOLE, Shape, TensorEncoding, encoding

__all__ = ["BFloat16", "Float32"]


class _Whole(TensorEncoding):
    dtype: ClassVar[torch.dtype]

    def layout(self, shape: Shape) -> dict[str, tuple[torch.dtype, Shape]]:
        return {WHOLE: (self.dtype, shape)}

    def encode(self, tensor: Tensor) -> dict[str, Tensor]:
        return {WHOLE: tensor.to(self.dtype)}

    def decode(self, parts: Mapping[str, Tensor], shape: Shape) -> Tensor:
        return parts[WHOLE].float()


@encoding("float32", "exact", bits=32)
class Float32(_Whole):
    """Every number as it is."""

    dtype = torch.float32


@encoding("bf16", "half the size, two to three digits", bits=16)
class BFloat16(_Whole):
    """The upper half of every number: sign, exponent and 7 bits of the fraction, halves to even."""

    dtype = torch.bfloat16
