"""A donor's training that is about to begin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, TrainerCallback

from ..grid.grid import Grid
from ..vector.vector import QuantizationVector
from .pixels import Pixels, Unlabeled
from .recipes.registry import RECIPES, Loss
from .recipes.training_recipe import TrainingRecipe

__all__ = ["Job", "model_folders"]


def model_folders(out: Path, folders: Iterable[Path]) -> list[Path]:
    """The folders of the models that a training makes: the plain one in `out`, and one in each of `folders`."""
    return [out / "fp", *(folder / "qat" for folder in folders)]


@dataclass(frozen=True)
class Job:
    """Everything that a training is given, opened and checked.

    Attributes:
        base: what the base is called.
        start: the model that all runs begin with; not changed.
        classes: class names by id.
        data: the splits ``"train"`` and, if there is one to score the models on, ``"validation"``.
        out: the folder of the plain model and the record.
        folders: for each grid the folder of its model and vector.
        about: of the donor, for the vectors' configs.
        scored: whether the record tells the scores.
        share_images: as for `train_donor`.
    """

    base: str
    start: PreTrainedModel
    processor: Any
    classes: list[str]
    data: Mapping[str, Pixels | Unlabeled]
    out: Path
    folders: Mapping[Grid, Path]
    recipe: TrainingRecipe
    about: Mapping[str, str | None]
    resume: bool
    callbacks: Sequence[TrainerCallback]
    arguments: Mapping[str, Any] | None
    share_images: int
    scored: bool

    @property
    def runs(self) -> list[Path]:
        """The folders of the models, the plain one first."""
        return model_folders(self.out, self.folders.values())

    def training(
        self, model: PreTrainedModel, grid: Grid, plain: Callable[[], PreTrainedModel]
    ) -> AbstractContextManager[Loss | None]:
        """A context in which the recipe has a model trained for a grid; entering it gives the loss."""
        return RECIPES.get(self.recipe.name).training(model, grid, self.recipe, plain)

    def vector(self, fp: Any, qat: Any, grid: Grid, images: NDArray[np.uint8] | None) -> QuantizationVector:
        """The vector between two models, or the folders of them, with the images that it carries.

        Raises:
            QVecError: or a subclass, as `QuantizationVector.extract`.
        """
        # The start is the base under another head, loaded already, and it knows its Hub commit.
        vector = QuantizationVector.extract(
            fp, qat, base=self.start, donor=self.about, recipe=self.recipe.to_dict(), grid=grid
        )
        return vector if images is None else vector.with_images(images)
