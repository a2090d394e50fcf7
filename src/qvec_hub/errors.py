"""The errors this package raises on purpose.

Every message names the thing that is wrong (a file, a tensor, an argument), what was expected,
what was found, and what to do. Anything else that escapes the package is a bug.
"""

__all__ = [
    "ArtifactError",
    "DataError",
    "GridError",
    "HubError",
    "LineageError",
    "MisfitError",
    "QVecError",
    "first_line",
]


class QVecError(Exception):
    """Base of all errors caused by a user's input or by an artifact."""


class ArtifactError(QVecError):
    """A vector or model folder breaks its format: files are missing, truncated, of another kind or changed."""


class GridError(QVecError):
    """The grid does not exist, or no grid can represent the weight (NaN, infinity)."""


class HubError(QVecError):
    """The Hub refused the request or was not reached: no such repository, no access, no network."""


class MisfitError(QVecError):
    """Tensors of a vector and of a model differ in name or shape."""


class LineageError(QVecError):
    """The receiver does not descend from the base the vector was made on."""


class DataError(QVecError):
    """A dataset cannot be found or read, or does not match the model: no labels, other classes."""


def first_line(error: BaseException) -> str:
    """The first line of another library's message that is not empty."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
