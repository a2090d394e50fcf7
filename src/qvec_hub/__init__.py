"""Quantization vectors on the Hugging Face Hub. Importing this package registers its transformers plugin."""

from .errors import ArtifactError, DataError, GridError, LineageError, MisfitError, QVecError
from .grids import Grid, fake_quantize

from .version import __version__

__all__ = [
    "ArtifactError",
    "DataError",
    "Grid",
    "GridError",
    "LineageError",
    "MisfitError",
    "QVecError",
    "fake_quantize",
]
