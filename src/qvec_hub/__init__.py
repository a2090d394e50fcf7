"""Quantization vectors on the Hugging Face Hub. Importing this package registers its transformers plugin."""

from .errors import ArtifactError, DataError, GridError, LineageError, MisfitError, QVecError
from .grids import Grid, fake_quantize
from .training import prepare_qat_, strip_qat_

__version__ = "0.1.0"

__all__ = [
    "ArtifactError",
    "DataError",
    "Grid",
    "GridError",
    "LineageError",
    "MisfitError",
    "QVecError",
    "fake_quantize",
    "prepare_qat_",
    "strip_qat_",
]
