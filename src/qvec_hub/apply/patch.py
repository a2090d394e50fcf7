"""Add a vector to a float model, ``θ_R + λ·ρ_D`` (arXiv 2604.03420): all tensors or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..artifact.folder import refuse_contradictions
from ..artifact.lineage import MIN_SIMILARITY, probe, similarity
from ..artifact.sizes import differing_sizes
from ..backbone.names import architecture, backbone_linears, backbone_tensors
from ..backbone.provenance import set_provenance_
from ..errors import LineageError, MisfitError, QVecError
from ..util.scalars import number_in
from ..util.untrusted import printable
from ..vector.misfits import describe_misfits
from ..vector.vector import QuantizationVector

__all__ = [
    "add_scaled",
    "add_vector_",
    "checked_scale",
    "patch_",
    "refuse_misfit",
    "refuse_other_base",
    "refuse_unsuitable",
    "resolve_scale",
]


def patch_(
    model: PreTrainedModel,
    vector: QuantizationVector,
    scale: float | str = "recommended",
    *,
    check_lineage: bool = True,
) -> PreTrainedModel:
    """Add ``scale * vector`` to a float model, in place: ``θ_R + λ·ρ_D`` (arXiv 2604.03420).

    The head is not changed. All checks run before the first change. Sums are formed in float32 and cast back to the
    model's dtype.

    Args:
        model: a float transformers classifier, the receiver.
        vector: its tensors have the names and shapes of the model's backbone.
        scale: a finite number λ, or ``"recommended"``: the value in the vector's config.
        check_lineage: refuse a receiver that does not descend from the vector's base.

    Returns:
        The same model.

    Raises:
        MisfitError: when the model is quantized, or tensors differ in name or shape; the message names each.
        LineageError: when the receiver does not descend from the vector's base.
        QVecError: when the scale is neither a finite number nor ``"recommended"``.
    """
    number = resolve_scale(scale, vector)
    refuse_unsuitable(vector, model, check_lineage)
    add_vector_(model, vector, number)
    return model


@torch.inference_mode()  # in which any tensor can be changed in place, also one that was made in it
def add_vector_(model: PreTrainedModel, vector: QuantizationVector, scale: float) -> None:
    """Add ``scale * vector`` to a float model, and record it: `patch_` for a vector that was found suitable."""
    for name, tensor in backbone_tensors(model).items():
        tensor.copy_(add_scaled(tensor, vector[name], scale))
    base = vector.config.base_model.to_dict()
    set_provenance_(model, patch={"vector": vector.provenance(), "scale": scale, "base_model": base})


def refuse_unsuitable(vector: QuantizationVector, model: PreTrainedModel, check_lineage: bool = True) -> float | None:
    """Raise unless the vector can be added to a float model; return the similarity to its base, None if unknown.

    Raises:
        MisfitError: when tensors differ, share memory, or the model is quantized already.
        LineageError: when the model does not descend from the vector's base.
    """
    quantized = next(
        (name for name, module in backbone_linears(model) if "weight" not in dict(module._parameters.items())), None
    )
    if quantized:
        raise MisfitError(f"{quantized} is already quantized; add the vector to the float receiver, then quantize")
    tensors = backbone_tensors(model)
    _refuse_shared(tensors)
    refuse_misfit(vector, model, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    if not check_lineage:
        return None
    return refuse_other_base(vector, {n: probe(n, tensors[n]) for n in vector.lineage or {} if n in tensors})


def _refuse_shared(tensors: Mapping[str, Tensor]) -> None:
    """Raise when two names share one tensor: the vector would be added to it twice."""
    seen: dict[tuple[object, int], str] = {}
    for name, tensor in tensors.items():
        other = seen.setdefault((tensor.device, tensor.data_ptr()), name)
        if other != name and tensor.data_ptr():
            raise MisfitError(
                f"{name} shares its memory with {other}, and would be patched twice; expected a model in which each "
                "has weights of its own"
            )


def add_scaled(tensor: Tensor, delta: Tensor, scale: float, out: Tensor | None = None) -> Tensor:
    """``tensor + scale * delta`` in float32, product and sum rounded separately (no fused multiply-add)."""
    delta = delta.to(tensor.device)
    return torch.add(tensor.float(), delta if scale == 1.0 else delta * scale, out=out)


def resolve_scale(scale: float | str, vector: QuantizationVector) -> float:
    """Turn a scale argument into a number.

    Raises:
        QVecError: when it is neither a finite number nor ``"recommended"``.
    """
    if isinstance(scale, str) and scale == "recommended":
        return vector.config.scale
    number = number_in(scale)
    if number is None:
        hint = "; a model in memory takes choose_scale(…).scale" if isinstance(scale, str) and scale == "auto" else ""
        raise QVecError(f"scale: expected a finite number or 'recommended', found {printable(repr(scale), 60)}{hint}")
    return number


def checked_scale(scale: Any) -> float | str | None:
    """Check a scale argument: None, ``"recommended"``, ``"auto"`` or a finite number, which is returned as a float.

    Raises:
        QVecError: when it is anything else.
    """
    if scale is None or (isinstance(scale, str) and scale in ("recommended", "auto")):
        return None if scale is None else str(scale)
    number = number_in(scale)
    if number is None:
        raise QVecError(f"scale: expected a finite number, 'recommended' or 'auto', found {printable(repr(scale), 60)}")
    return number


def refuse_misfit(vector: QuantizationVector, model: PreTrainedModel, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise unless the vector has exactly the receiver's backbone tensors, with the same shapes.

    Raises:
        MisfitError: when they differ; the message names sizes first, then tensors.
        ArtifactError: when the vector's own config and tensors contradict each other.
    """
    theirs, ours = vector.config, architecture(model.config)
    if theirs.model_type != model.config.model_type:
        raise MisfitError(
            f"the vector was made for {theirs.model_type!r} models, the receiver is {model.config.model_type!r}; "
            "use a vector made from the receiver's base"
        )
    refuse_contradictions(theirs, vector.shapes(), "the vector")
    problems = describe_misfits(vector.shapes(), shapes)
    if problems:
        sizes = [
            f"{key} {theirs.architecture[key]} ≠ {ours[key]}"
            for key in ours
            if key in theirs.architecture and theirs.architecture[key] != ours[key]
        ]
        reason = f" (vector ≠ receiver: {', '.join(sizes)})" if sizes else ""
        raise MisfitError(
            f"the vector does not fit the receiver{reason}: {len(problems)} tensors differ: {'; '.join(problems)}. "
            "Nothing was changed; use a vector made from the receiver's base"
        )
    differing = differing_sizes(theirs.architecture, ours)
    if differing:
        raise MisfitError(
            f"the vector does not fit the receiver (vector ≠ receiver: {', '.join(differing)}), although their tensors "
            "have the same shapes. Nothing was changed; use a vector made from the receiver's base"
        )


def refuse_other_base(vector: QuantizationVector, probes: Mapping[str, Tensor]) -> float | None:
    """Raise unless the receiver's weights agree with the vector's base fingerprint; return the similarity.

    Returns None when the vector has no fingerprint.

    Args:
        probes: canonical name -> the receiver's weights at the fingerprint's positions.

    Raises:
        LineageError: when they do not agree; the message gives the measured similarity.
    """
    measured = similarity(vector.lineage, probes) if vector.lineage else None
    if measured is not None and measured < MIN_SIMILARITY:
        base = vector.config.base_model.repo_id or "the vector's base"
        raise LineageError(
            f"the receiver does not descend from {base}: similarity {measured:.3f}, expected at least "
            f"{MIN_SIMILARITY}. Use a vector made from the receiver's base, or insist with check_lineage=False "
            "(--no-check-lineage)"
        )
    return measured
