"""What a value of a benchmark row may be: pairs of a description and a test."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

__all__ = ["COUNT", "NAME", "NUMBER", "SECONDS", "TEXT", "TEXTS", "TIME", "Check", "one_of", "or_null", "shown"]

Check = tuple[str, Callable[[Any], bool]]  # what is expected, and whether a value is that


def one_of(*words: str) -> Check:
    return f"one of {', '.join(words)}", lambda value: isinstance(value, str) and value in words


def or_null(check: Check) -> Check:
    wanted, holds = check
    return f"{wanted}, or null", lambda value: value is None or holds(value)


def shown(value: Any) -> str:
    """A value for an error message, as JSON where it can be, and not too long."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _is_number(value: Any) -> bool:
    if type(value) not in (int, float):  # a bool is an int to isinstance
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:  # an integer beyond any float
        return False


def _is_time(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        # Before Python 3.11, fromisoformat does not know the Z that many write for UTC.
        return datetime.fromisoformat(re.sub("Z$", "+00:00", value)).tzinfo is not None
    except ValueError:
        return False


TEXT: Check = ("a non-empty string", _is_text)
TEXTS: Check = (
    "an object of strings",
    lambda value: isinstance(value, dict) and all(isinstance(text, str) for item in value.items() for text in item),
)
NAME: Check = (
    "a lower-case identifier",
    lambda value: isinstance(value, str) and re.fullmatch("[a-z][a-z0-9_]*", value) is not None,
)
COUNT: Check = ("an integer of 0 or more", lambda value: type(value) is int and value >= 0)
NUMBER: Check = ("a finite number", _is_number)
SECONDS: Check = ("a number of seconds, 0 or more", lambda value: _is_number(value) and value >= 0)
TIME: Check = ("a time with its offset from UTC, such as 2026-11-20T12:00:00+00:00", _is_time)
