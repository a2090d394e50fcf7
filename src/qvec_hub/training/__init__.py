"""Donor training: quantization-aware preparation, recipes, and the pair of runs a vector is made of."""

from .donor import Donor, train_donor
from .qat import prepare_qat_, strip_qat_
from .recipe import TrainingRecipe
from .run import Score

__all__ = ["Donor", "Score", "TrainingRecipe", "prepare_qat_", "strip_qat_", "train_donor"]
