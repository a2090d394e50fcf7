"""Read the numbers that users pass: Python's, NumPy's, PyTorch's and fractions; the one test of a finite number."""

from __future__ import annotations

import math
import operator
from decimal import Decimal
from numbers import Real
from typing import Any

__all__ = ["integer_in", "number_in"]


def number_in(value: Any) -> float | None:
    """Convert a real number of any library, or a tensor or array without dimensions, to a finite Python float.

    Returns None for everything else: booleans, text, NaN, infinity, complex numbers, numbers too large for a float.
    """
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, (Real, Decimal)):
        return None
    try:
        number = float(plain)
    except (OverflowError, ValueError, TypeError):  # an integer beyond any float, a Decimal that is a signalling NaN
        return None
    return number if math.isfinite(number) else None


def integer_in(value: Any) -> int | None:
    """Convert an integer of any library to a Python int; None for everything else, also booleans and 3.0."""
    plain = _plain(value)
    if isinstance(plain, bool):
        return None
    try:
        return operator.index(plain)
    except TypeError:
        return None


def _plain(value: Any) -> Any:
    if not hasattr(value, "ndim") or not hasattr(value, "item"):  # no array or tensor of any library
        return value
    on_meta = getattr(getattr(value, "device", None), "type", None) == "meta"
    return None if value.ndim or on_meta else value.item()
