"""The registry of donor recipes: how the second model of a donor is trained for its grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from transformers import PreTrainedModel

from ...grid.grid import Grid
from ...util.registry import Registry

__all__ = ["RECIPES", "Loss", "Recipe", "TrainForGrid", "recipe"]

# A batch (``pixel_values``, ``labels``) and the model's output for it -> the mean loss over its images.
Loss = Callable[[Mapping[str, Tensor], Any], Tensor]


class TrainForGrid(Protocol):
    """Change a model and its loss for a training, which takes place while this generator waits, and undo it after.

    Called with the model, in float32; the grid; the hyper-parameters, an object of the recipe's own class; and a
    function that loads the donor's plain model, in evaluation mode on the CPU. Yields once: the loss, or None for the
    model's own. From the first to the last line, the model's state dict keeps its keys and holds the float weights,
    because checkpoints are saved from it.
    """

    def __call__(
        self, model: PreTrainedModel, grid: Grid, recipe: Any, plain: Callable[[], PreTrainedModel]
    ) -> Iterator[Loss | None]: ...


@dataclass(frozen=True)
class Recipe:
    """One way to train the second model of a donor; the first one is trained plainly under every recipe.

    Attributes:
        about: one line, for ``--help`` and documentation.
        parameters: its hyper-parameters with their defaults: `TrainingRecipe`, or a subclass with more fields.
        training: a context in which the model is trained, see `TrainForGrid`; entering it gives the loss.
    """

    name: str
    about: str
    parameters: type[Any]
    training: Callable[..., AbstractContextManager[Loss | None]]


RECIPES: Registry[Recipe] = Registry("recipe")


def recipe(name: str, about: str, *, parameters: type[Any]) -> Callable[[TrainForGrid], TrainForGrid]:
    """Register the decorated generator function; see `Recipe` for the arguments."""

    def enter(train: TrainForGrid) -> TrainForGrid:
        RECIPES.add(Recipe(name, about, parameters, contextmanager(train)))
        return train

    return enter
