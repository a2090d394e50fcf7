"""Two sets of named tensors side by side: which names and shapes differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import MisfitError

__all__ = ["describe_misfits", "refuse_other_shapes"]


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
