"""Quantization vectors on the Hugging Face Hub. Importing this package registers its transformers plugin."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import ArtifactError, DataError, GridError, HubError, LineageError, MisfitError, QVecError
from .grids import Grid, fake_quantize
from .layer_scales import scale_layers
from .loading import from_pretrained
from .merge import merge
from .patch import patch_
from .plugin import QVecConfig
from .quantizing import quantize_
from .scale import ScaleChoice, choose_scale, rank_donors
from .training import prepare_qat_, strip_qat_
from .vector import QuantizationVector
from .version import __version__

if TYPE_CHECKING:
    from .evaluation import EvalResult, evaluate
    from .hub.search import search
    from .training import TrainingRecipe, train_donor

__all__ = [
    "ArtifactError",
    "DataError",
    "EvalResult",
    "Grid",
    "GridError",
    "HubError",
    "LineageError",
    "MisfitError",
    "QVecConfig",
    "QVecError",
    "QuantizationVector",
    "ScaleChoice",
    "TrainingRecipe",
    "__version__",
    "choose_scale",
    "evaluate",
    "fake_quantize",
    "from_pretrained",
    "merge",
    "patch_",
    "prepare_qat_",
    "quantize_",
    "rank_donors",
    "scale_layers",
    "search",
    "strip_qat_",
    "train_donor",
]

# What stands on datasets and the Trainer, both slow to import, is imported when first used.
_LAZY = {
    "EvalResult": ".evaluation",
    "evaluate": ".evaluation",
    "search": ".hub",
    "TrainingRecipe": ".training",
    "train_donor": ".training",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)
