"""Wrap calls of other libraries, so that bad input never ends in their tracebacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import QVecError
from .untrusted import printable

__all__ = ["foreign_errors"]


@contextmanager
def foreign_errors(kind: type[QVecError], found: str, advice: str = "") -> Iterator[None]:
    """Turn every error of a library in this block into one of ours; our errors and MemoryError pass through.

    Keep our own code out of the block: its bugs would look like bad input.

    Args:
        kind: the class of error to raise.
        found: the thing, what was expected and what was found; type and text of the error follow.
        advice: what to do about it.
    """
    try:
        yield
    except (QVecError, MemoryError):
        raise
    except Exception as error:
        said = printable(f"{type(error).__name__}: {' '.join(str(error).split())}", 300)
        raise kind(f"{found} ({said})" + (f"; {advice}" if advice else "")) from error
