"""A Gaussian vector in the place of a vector."""

from __future__ import annotations

import torch
from torch import Tensor

from ...vector.vector import QuantizationVector
from .registry import DonorModels, control, control_vector, random_stream

__all__ = ["random_like"]


def random_like(vector: QuantizationVector, seed: int = 0) -> QuantizationVector:
    """A Gaussian vector whose tensors have the norms of `vector`'s; the same for the same seed."""

    def tensor(name: str) -> Tensor:
        original = vector[name]
        noise = torch.randn(original.shape, generator=random_stream(seed, name))
        return noise * (original.norm() / noise.norm().clamp(min=1e-12))

    return control_vector(vector, "random control", tensor)


@control("random", "a Gaussian vector of the same norm in every tensor", label="random")
def make(vector: QuantizationVector, seed: int, models: DonorModels) -> QuantizationVector:
    return random_like(vector, seed)
