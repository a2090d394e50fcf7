"""Vectors that should not help: what a gain has to beat before it counts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ...artifact.config import Donor
from ...artifact.folder import Computed
from ...backbone.checkpoint import load_classifier
from ...backbone.names import backbone_tensors
from ...errors import ArtifactError
from ...vector.shapes import refuse_other_shapes
from ...vector.vector import QuantizationVector

__all__ = ["random_like", "shuffled", "task_vector_like"]


def random_like(vector: QuantizationVector, seed: int = 0) -> QuantizationVector:
    """A Gaussian vector whose tensors have the norms of `vector`'s; the same for the same seed."""

    def tensor(name: str) -> Tensor:
        original = vector[name]
        noise = torch.randn(original.shape, generator=_stream(seed, name))
        return noise * (original.norm() / noise.norm().clamp(min=1e-12))

    return _control(vector, "random control", tensor)


def shuffled(vector: QuantizationVector, seed: int = 0) -> QuantizationVector:
    """The values of `vector`, in another order within each output row; the same order for the same seed.

    A row is what one index of the first dimension holds; a tensor of one dimension is one row.
    """

    def tensor(name: str) -> Tensor:
        original = vector[name]
        rows = original.reshape(original.shape[0] if original.ndim > 1 else 1, -1)
        order = torch.rand(rows.shape, generator=_stream(seed, name)).argsort(dim=1)
        return rows.gather(1, order).reshape(original.shape)

    return _control(vector, "shuffled control", tensor)


def task_vector_like(
    vector: QuantizationVector,
    finetuned: PreTrainedModel | str | Path,
    base: PreTrainedModel | str | Path,
) -> QuantizationVector:
    """What the donor's fine-tuning itself changed, ``θ_D − θ_0``, scaled to the Euclidean norm of `vector`.

    The difference is taken at once, so that the models may change afterwards.

    Args:
        finetuned: the donor's plain fine-tune: a model, a folder or a Hub repo id.
        base: what it was fine-tuned from.

    Raises:
        ArtifactError: when a checkpoint cannot be read, holds NaN, or both are the same.
        MisfitError: when one of them has other backbone tensors than the vector.
    """
    found = {}
    for role, source in {"finetuned": finetuned, "base": base}.items():
        found[role] = backbone_tensors(load_classifier(source, head_required=False))
        refuse_other_shapes(found[role], vector.shapes(), role, "the vector")
    change = {name: _on_cpu(found["finetuned"][name]) - _on_cpu(found["base"][name]) for name in vector}
    norm = math.sqrt(sum(float(tensor.double().square().sum()) for tensor in change.values()))
    if not norm or not math.isfinite(norm):
        problem = "holds NaN or infinity" if norm else "is zero"
        raise ArtifactError(
            f"the difference of finetuned and base {problem}; pass the donor's plain fine-tune and the base it started "
            "from"
        )
    factor = vector.norm() / norm
    return _control(vector, "task vector control", lambda name: change[name] * factor)


def _control(vector: QuantizationVector, task: str, tensor: Callable[[str], Tensor]) -> QuantizationVector:
    config = replace(vector.config, donor=Donor(task=task), tensors=None, sources=[])
    return QuantizationVector(config, Computed(vector.shapes(), tensor), vector.lineage, images=vector.images)


def _stream(seed: int, name: str) -> torch.Generator:
    """A random stream of its own for each tensor, whatever the order they are asked for."""
    start = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "little") >> 1
    return torch.Generator().manual_seed(start)


def _on_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().float().cpu()
