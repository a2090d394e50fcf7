"""The registry of encodings: how a vector's file stores the numbers of a matrix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ...errors import ArtifactError
from ...util.registry import Registry

__all__ = ["ENCODINGS", "WHOLE", "Shape", "TensorEncoding", "encoding"]

Shape = tuple[int, ...]
WHOLE = ""  # the part that is stored under the tensor's own name


@dataclass(frozen=True)
class TensorEncoding(ABC):
    """A way to store a float32 tensor ``(rows, …)``: whole, or in several parts, entries ``name.part`` of the file.

    One of several parts is ``shape`` (int64), the tensor's own, and one has the encoding's name.

    Attributes:
        bits: of a stored number; scales come on top.
    """

    name: str
    about: str
    bits: int

    @abstractmethod
    def layout(self, shape: Shape) -> dict[str, tuple[torch.dtype, Shape]]:
        """Part -> its dtype and shape, for a tensor of this shape; the parts are the same for every shape."""

    @abstractmethod
    def encode(self, tensor: Tensor) -> dict[str, Tensor]:
        """Part -> its content, as `layout` says; raises GridError when the tensor holds NaN or infinity."""

    @abstractmethod
    def decode(self, parts: Mapping[str, Tensor], shape: Shape) -> Tensor:
        """The float32 tensor of `shape` that was encoded, as far as the encoding is exact."""


ENCODINGS: Registry[TensorEncoding] = Registry("encoding", ArtifactError)
E = TypeVar("E", bound=type[TensorEncoding])


def encoding(name: str, about: str, *, bits: int) -> Callable[[E], E]:
    """Register an encoding of the decorated class; see `TensorEncoding` for the arguments."""

    def enter(kind: E) -> E:
        ENCODINGS.add(kind(name, about, bits))
        return kind

    return enter
