"""Quantization vectors on the Hugging Face Hub. Importing this package registers its transformers plugin."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .apply.choose_scale import ScaleChoice, choose_scale, rank_donors
from .apply.layer_scales import scale_layers
from .apply.patch import patch_
from .errors import ArtifactError, DataError, GridError, HubError, LineageError, MisfitError, QVecError
from .grid.grid import Grid
from .grid.quantize import fake_quantize
from .loading.config import QVecConfig
from .loading.from_pretrained import from_pretrained
from .loading.quantize_model import quantize_
from .training.qat import prepare_qat_, strip_qat_
from .vector.merge import merge
from .vector.vector import QuantizationVector
from .version import __version__

if TYPE_CHECKING:
    from .evaluation.runner import evaluate
    from .hub.search.search import search
    from .results.counts import EvalResult
    from .training.donor import train_donor
    from .training.recipe import TrainingRecipe

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
