"""The errors this package raises on purpose.

Every message names the thing that is wrong (a file, a tensor, an argument), what was expected,
what was found, and what to do. Anything else that escapes the package is a bug.
"""

__all__ = ["ArtifactError", "DataError", "GridError", "LineageError", "MisfitError", "QVecError"]


class QVecError(Exception):
    """Base of all errors caused by a user's input or by an artifact."""


class ArtifactError(QVecError):
    """A vector or model folder is not what its format promises: missing, truncated, foreign, tampered with."""


class GridError(QVecError):
    """A grid that does not exist, or a weight that no grid can represent (NaN, infinity)."""


class MisfitError(QVecError):
    """Tensors of a vector and of a model differ in name or shape."""


class LineageError(QVecError):
    """The receiver does not descend from the base the vector was made on."""


class DataError(QVecError):
    """A dataset that cannot be found or read, or does not match the model: no labels, other classes."""
