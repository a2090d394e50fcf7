"""Two sets of named tensors, or two vectors' configs, side by side: in what they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..artifact.config import VectorConfig
from ..artifact.sizes import differing_sizes
from ..errors import MisfitError

__all__ = ["describe_misfits", "refuse_other_origins", "refuse_other_shapes"]


def refuse_other_shapes(found: Mapping[str, Any], expected: Mapping[str, Any], who: str, whose: str) -> None:
    """Raise MisfitError unless both hold the same names in the same shapes (values: shapes or tensors)."""
    problems = describe_misfits(found, expected)
    if problems:
        listing = "; ".join(problems[:6]) + (f"; and {len(problems) - 6} more" if len(problems) > 6 else "")
        raise MisfitError(f"{who} does not fit {whose}: {listing}")


def describe_misfits(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """One line for each tensor that is missing, unexpected or of another shape (values: shapes or tensors)."""
    lines = []
    for name in [*expected, *(name for name in found if name not in expected)]:
        if name not in found:
            lines.append(f"{name} is missing")
        elif name not in expected:
            lines.append(f"{name} is not expected")
        elif _shape(found[name]) != _shape(expected[name]):
            lines.append(f"{name} has shape {_shape(found[name])}, expected {_shape(expected[name])}")
    return lines


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else tuple(value)


def refuse_other_origins(one: VectorConfig, other: VectorConfig) -> None:
    """Raise MisfitError unless vectors with these configs have one architecture and, as far as both say, one base."""
    differing = differing_sizes(one.architecture, other.architecture)
    if one.model_type != other.model_type:
        differing.insert(0, f"model_type {one.model_type!r} ≠ {other.model_type!r}")
    if differing:
        raise MisfitError(f"vectors of different architectures cannot be combined: {', '.join(differing)}")
    bases = one.base_model, other.base_model
    if all(base.repo_id for base in bases) and bases[0] != bases[1]:
        raise MisfitError(f"vectors of different bases cannot be combined: {bases[0].repo_id} and {bases[1].repo_id}")
