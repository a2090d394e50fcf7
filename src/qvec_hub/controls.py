"""Vectors that should not help: what a gain has to beat before it counts."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from .artifact import Donor
from .storage import Computed
from .vector import QuantizationVector

__all__ = ["random_like"]


def random_like(vector: QuantizationVector, seed: int = 0) -> QuantizationVector:
    """A Gaussian vector whose tensors have the norms of `vector`'s; the same for the same seed."""

    def tensor(name: str) -> Tensor:
        original = vector[name]
        stream = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "little") >> 1
        noise = torch.randn(original.shape, generator=torch.Generator().manual_seed(stream))
        return noise * (original.norm() / noise.norm().clamp(min=1e-12))

    config = replace(vector.config, donor=Donor(task="random control"), tensors=None, sources=[])
    return QuantizationVector(config, Computed(vector.shapes(), tensor), vector.lineage)
