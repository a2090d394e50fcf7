"""Encode a vector's tensors: its matrices by one of the registered `ENCODINGS`, all else in float32.

Tensors without long rows (biases, norms, the class token) stay float32 in every encoding.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping

import torch
from torch import Tensor

from ..errors import ArtifactError
from . import encodings  # noqa: F401  # registers the encodings of this package
from .encodings.registry import ENCODINGS, WHOLE, Shape, TensorEncoding

__all__ = ["ENCODINGS", "check_encoding", "encode", "entry", "planned", "relative_error", "split_name"]

SMALLEST_ROW = 16  # numbers; in shorter rows the scale would take too large a share of the file


def check_encoding(name: str) -> str:
    """Check the name of an encoding, and return it.

    Raises:
        ArtifactError: when there is no encoding of that name.
    """
    if name not in ENCODINGS:
        raise ArtifactError(f"encoding: expected one of {', '.join(ENCODINGS.names())}, found {name!r}")
    return name


def entry(name: str, part: str) -> str:
    """The name in the file of a part of the tensor `name`."""
    return name if part == WHOLE else f"{name}.{part}"


def split_name(stored: str, others: Container[str]) -> tuple[str, str]:
    """Split an entry's name into the tensor it belongs to and its part."""
    name, _, part = stored.rpartition(".")
    for each in ENCODINGS:
        if f"{name}.{each.name}" in others and part in each.layout(()):
            return name, part
    return stored, WHOLE


def planned(name: str, shape: Shape, encoding: str) -> dict[str, Tensor]:
    """The entries that `encode` makes from a tensor of this shape, as empty tensors on the meta device."""
    layout = _of(encoding, shape).layout(shape)
    return {entry(name, part): torch.empty(size, dtype=dtype, device="meta") for part, (dtype, size) in layout.items()}


def encode(name: str, tensor: Tensor, encoding: str) -> dict[str, Tensor]:
    """Encode a float32 tensor: name of an entry in the file -> its content.

    Raises:
        GridError: when the tensor holds NaN or infinity.
    """
    tensor = tensor.contiguous()
    return {entry(name, part): content for part, content in _of(encoding, tensor.shape).encode(tensor).items()}


def relative_error(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """``‖ρ − ρ̂‖ / ‖ρ‖`` over all tensors."""
    lost = sum(float((before[name] - after[name]).double().square().sum()) for name in before)
    whole = sum(float(before[name].double().square().sum()) for name in before)
    return math.sqrt(lost / whole) if whole else 0.0


def _of(encoding: str, shape: Shape) -> TensorEncoding:
    has_rows = len(shape) > 1 and shape[0] > 1 and math.prod(shape[1:]) >= SMALLEST_ROW
    return ENCODINGS.get(encoding if has_rows else "float32")
