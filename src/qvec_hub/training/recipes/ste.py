"""Straight-through quantization-aware training, that of arXiv 2604.03420."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from transformers import PreTrainedModel

from ...grid.grid import Grid
from ..qat import prepare_qat_, strip_qat_
from .registry import recipe
from .training_recipe import TrainingRecipe

__all__ = ["ste"]


@recipe("ste", "weights rounded in every forward pass, gradients straight through", parameters=TrainingRecipe)
def ste(
    model: PreTrainedModel, grid: Grid, recipe: TrainingRecipe, plain: Callable[[], PreTrainedModel]
) -> Iterator[None]:
    """Round the backbone's weights in every forward pass, and pass the gradient unchanged to the float weights."""
    prepare_qat_(model, grid)
    yield
    strip_qat_(model)
