"""Donor training: quantization-aware preparation, recipes, and the pair of runs a vector is made of."""

from .qat import prepare_qat_, strip_qat_

__all__ = ["prepare_qat_", "strip_qat_"]
