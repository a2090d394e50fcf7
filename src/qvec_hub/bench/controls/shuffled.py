"""A vector's own values in another order."""

from __future__ import annotations

import torch
from torch import Tensor

from ...vector.vector import QuantizationVector
from .registry import DonorModels, control, control_vector, random_stream

__all__ = ["shuffled"]


def shuffled(vector: QuantizationVector, seed: int = 0) -> QuantizationVector:
    """The values of `vector`, in another order within each output row; the same order for the same seed.

    A row is what one index of the first dimension holds; a tensor of one dimension is one row.
    """

    def tensor(name: str) -> Tensor:
        original = vector[name]
        rows = original.reshape(original.shape[0] if original.ndim > 1 else 1, -1)
        order = torch.rand(rows.shape, generator=random_stream(seed, name)).argsort(dim=1)
        return rows.gather(1, order).reshape(original.shape)

    return control_vector(vector, "shuffled control", tensor)


@control("shuffle", "the vector's values, shuffled within each output row", label="shuffled")
def make(vector: QuantizationVector, seed: int, models: DonorModels) -> QuantizationVector:
    return shuffled(vector, seed)
