"""One wrapper around calls of other libraries, so that bad input never ends in their tracebacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import QVecError
from .untrusted import printable

__all__ = ["foreign_errors"]


@contextmanager
def foreign_errors(kind: type[QVecError], found: str, advice: str = "") -> Iterator[None]:
    """Turn whatever a library raises in this block into one of our errors; ours and a MemoryError pass through.

    Keep code of our own out of the block: its bugs would pass for bad input.

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
