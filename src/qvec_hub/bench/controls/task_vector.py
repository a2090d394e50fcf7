"""What the donor's fine-tuning itself changed, in the place of its quantization vector."""

from __future__ import annotations

import math
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel

from ...backbone.checkpoint import load_classifier
from ...backbone.names import backbone_tensors
from ...errors import ArtifactError
from ...vector.misfits import refuse_other_shapes
from ...vector.vector import QuantizationVector
from .registry import DonorModels, control, control_vector

__all__ = ["task_vector_like"]


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
    return control_vector(vector, "task vector control", lambda name: change[name] * factor)


def _on_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().float().cpu()


@control("task_vector", "the donor's task vector, scaled to the vector's norm", label="task-vector", single_donor=True)
def make(vector: QuantizationVector, seed: int, models: DonorModels) -> QuantizationVector:
    return task_vector_like(vector, *models())
