"""Quantization vectors on the Hugging Face Hub. Importing this package registers its transformers plugin."""

from .errors import ArtifactError, DataError, GridError, LineageError, MisfitError, QVecError
from .grids import Grid, fake_quantize
from .loading import from_pretrained
from .merge import merge
from .patch import patch_
from .plugin import QVecConfig
from .quanto import quantize_
from .training import prepare_qat_, strip_qat_
from .vector import QuantizationVector
from .version import __version__

__all__ = [
    "ArtifactError",
    "DataError",
    "Grid",
    "GridError",
    "LineageError",
    "MisfitError",
    "QVecConfig",
    "QVecError",
    "QuantizationVector",
    "__version__",
    "fake_quantize",
    "from_pretrained",
    "merge",
    "patch_",
    "prepare_qat_",
    "quantize_",
    "strip_qat_",
]
