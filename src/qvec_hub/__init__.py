"""Quantization vectors on the Hugging Face Hub. Importing this package registers its transformers plugin.

The public names are listed here. Each is imported, together with torch and its other dependencies, on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import ArtifactError, DataError, GridError, HubError, LineageError, MisfitError, QVecError
from .loading.register import register_plugin
from .version import __version__

if TYPE_CHECKING:
    from .apply.choose_scale import ScaleChoice, choose_scale, rank_donors
    from .apply.layer_scales import scale_layers
    from .apply.patch import patch_
    from .evaluation.runner import evaluate
    from .grid.grid import Grid
    from .grid.quantize import fake_quantize
    from .hub_search.search import search
    from .interop.convert import convert
    from .interop.export import export
    from .interop.pair import import_pair
    from .loading.config import QVecConfig
    from .loading.from_pretrained import from_pretrained
    from .loading.quantize_model import quantize_
    from .results.counts import EvalResult
    from .training.distill import distill_donor
    from .training.donor import train_donor
    from .training.qat import prepare_qat_, strip_qat_
    from .training.recipes.distill import DistillRecipe
    from .training.recipes.training_recipe import TrainingRecipe
    from .vector.merge import merge
    from .vector.vector import QuantizationVector

__all__ = [
    "ArtifactError",
    "DataError",
    "DistillRecipe",
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
    "convert",
    "distill_donor",
    "evaluate",
    "export",
    "fake_quantize",
    "from_pretrained",
    "import_pair",
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

_HOMES = {
    "DistillRecipe": "training.recipes.distill",
    "EvalResult": "results.counts",
    "Grid": "grid.grid",
    "QVecConfig": "loading.config",
    "QuantizationVector": "vector.vector",
    "ScaleChoice": "apply.choose_scale",
    "TrainingRecipe": "training.recipes.training_recipe",
    "choose_scale": "apply.choose_scale",
    "convert": "interop.convert",
    "distill_donor": "training.distill",
    "export": "interop.export",
    "import_pair": "interop.pair",
    "evaluate": "evaluation.runner",
    "fake_quantize": "grid.quantize",
    "from_pretrained": "loading.from_pretrained",
    "merge": "vector.merge",
    "patch_": "apply.patch",
    "prepare_qat_": "training.qat",
    "quantize_": "loading.quantize_model",
    "rank_donors": "apply.choose_scale",
    "scale_layers": "apply.layer_scales",
    "search": "hub_search.search",
    "strip_qat_": "training.qat",
    "train_donor": "training.donor",
}

register_plugin()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
