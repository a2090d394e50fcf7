"""The hyper-parameters of a donor, as its vector's config stores them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from transformers.training_args import OptimizerNames

from ...errors import QVecError
from ...util.scalars import number_in
from .registry import RECIPES

__all__ = ["TrainingRecipe", "read_recipe"]

HEADS = ("random", "probe")
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class TrainingRecipe:
    """Hyper-parameters of both models of a donor. The defaults are those of arXiv 2604.03420.

    Args:
        epochs: passes over the training images, above 0; choose it for each task.
        learning_rate: peak learning rate, after the warm-up; then cosine decay to zero.
        weight_decay: weight decay, not applied to biases and norms.
        warmup_steps: optimizer steps of linear warm-up.
        batch_size: images in an optimizer step, over all devices and accumulated parts.
        clip_norm: largest norm of the gradient; 0 for no clipping.
        seed: seed of the new head, the order of images and dropout; the same for both models.
        grad_accumulation: number of parts in which a batch is computed, to save memory.
        precision: "fp32", or "bf16" and "fp16" for autocast over float32 weights.
        optimizer: a name that `transformers.TrainingArguments` accepts.
        head: start of the new head: "random", or "probe" for a logistic regression on the base's features.
        name: how the second model is trained for its grid: a registered recipe. "ste" is straight-through QAT; a recipe
            with more hyper-parameters has a subclass of its own.

    Raises:
        QVecError: when a value is unknown or out of range, or the recipe of that name has other hyper-parameters.
    """

    epochs: float = 10
    learning_rate: float = 1e-5
    weight_decay: float = 0.1
    warmup_steps: int = 500
    batch_size: int = 128
    clip_norm: float = 1.0
    seed: int = 2038
    grad_accumulation: int = 1
    precision: str = "fp32"
    optimizer: str = "adamw_torch"
    head: str = "random"
    name: str = "ste"

    def __post_init__(self) -> None:
        _one_of("name", self.name, RECIPES.names())
        own = RECIPES.get(self.name).parameters
        if type(self) is not own:
            raise QVecError(
                f"recipe: expected the hyper-parameters of {self.name!r}, found a {type(self).__name__}; "
                f"pass a {own.__name__}"
            )
        _one_of("head", self.head, HEADS)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("optimizer", self.optimizer, [optimizer.value for optimizer in OptimizerNames])
        for field in ("epochs", "learning_rate"):
            _at_least(field, getattr(self, field), 0, (int, float), above=True)
        for field in ("weight_decay", "clip_norm"):
            _at_least(field, getattr(self, field), 0, (int, float))
        for field, least in (("warmup_steps", 0), ("seed", 0), ("batch_size", 1), ("grad_accumulation", 1)):
            _at_least(field, getattr(self, field), least, (int,))
        if self.seed >= 2**32:
            raise QVecError(f"recipe: seed must be below 2**32, found {self.seed}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, ``name`` first."""
        return {"name": self.name, **asdict(self)}


def read_recipe(values: Mapping[str, Any]) -> TrainingRecipe:
    """Make a recipe of its values by name, as `TrainingRecipe.to_dict` gives them; those left out take the defaults.

    Raises:
        QVecError: when there is no recipe of that name, it has no such hyper-parameter, or a value is out of range.
    """
    name = values.get("name", TrainingRecipe.name)
    kind = RECIPES.get(name).parameters if name in RECIPES else TrainingRecipe  # which refuses the name
    try:
        made: TrainingRecipe = kind(**values)
    except TypeError as error:
        raise QVecError(f"recipe: {error}") from error
    return made


def _one_of(field: str, value: object, choices: Any) -> None:
    if value not in choices:
        raise QVecError(f"recipe: {field} must be one of {', '.join(map(repr, choices))}, found {value!r}")


def _at_least(field: str, value: Any, least: int, kinds: tuple[type, ...], above: bool = False) -> None:
    if type(value) not in kinds or number_in(value) is None or value < least or (above and value == least):
        kind = "a number" if float in kinds else "an integer"
        bound = f"above {least}" if above else f"of at least {least}"
        raise QVecError(f"recipe: {field} must be {kind} {bound}, found {value!r}")
