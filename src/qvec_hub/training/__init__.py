"""Donor training: quantization-aware preparation, recipes, and the pair of runs a vector is made of.

The Trainer and datasets are slow to import, so everything but `prepare_qat_` and `strip_qat_` is
imported at first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .qat import prepare_qat_, strip_qat_

if TYPE_CHECKING:
    from .donor import Donor, train_donor, train_donors
    from .recipe import TrainingRecipe
    from .run import Score

__all__ = ["Donor", "Score", "TrainingRecipe", "prepare_qat_", "strip_qat_", "train_donor", "train_donors"]

LAZY = {"Donor": "donor", "Score": "run", "TrainingRecipe": "recipe", "train_donor": "donor", "train_donors": "donor"}


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{LAZY[name]}", __name__), name)
