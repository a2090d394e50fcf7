"""Numbers as people pass them: Python's, NumPy's, PyTorch's, fractions; told apart from what only looks like one."""

from __future__ import annotations

import math
import operator
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["integer_in", "number_in"]


def number_in(value: Any) -> float | None:
    """A finite Python float from a real number of any library, or from a tensor or array without dimensions.

    None for everything else: truth values, text, NaN, infinity, complex numbers, what is beyond any float.
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
    """A Python int from an integer of any library; None for everything else, also for truth values and 3.0."""
    plain = _plain(value)
    if isinstance(plain, bool):
        return None
    try:
        return operator.index(plain)
    except TypeError:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        if value.ndim or (isinstance(value, Tensor) and value.device.type == "meta"):
            return None
        return value.item()
    return value
