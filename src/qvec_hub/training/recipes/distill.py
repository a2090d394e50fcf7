"""Distillation: the model for the grid is drawn to what the plain model computes; labels are not looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...backbone.names import backbone_linears
from ...backbone.numbered import encoder_layers
from ...errors import QVecError
from ...grid.grid import Grid
from ..qat import prepare_qat_, strip_qat_
from .registry import Loss, recipe
from .training_recipe import TrainingRecipe

__all__ = ["DistillRecipe", "distill"]


@dataclass(frozen=True)
class DistillRecipe(TrainingRecipe):
    """Hyper-parameters of distillation, with defaults for a base donor; those of `TrainingRecipe` and:

    Args:
        hidden: weight of the hidden states of all encoder layers, beside that of the features the head takes, 1.
    """

    epochs: float = 20
    learning_rate: float = 2e-4
    weight_decay: float = 0.0
    warmup_steps: int = 50
    batch_size: int = 64
    hidden: float = 1.0
    name: str = "distill"

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.hidden) not in (int, float) or not 0 <= self.hidden < float("inf"):
            raise QVecError(f"recipe: hidden must be a number of at least 0, found {self.hidden!r}")


@recipe(
    "distill",
    "weights rounded in every forward pass, features drawn to those of the plain model, without labels",
    parameters=DistillRecipe,
)
def distill(
    model: PreTrainedModel, grid: Grid, recipe: DistillRecipe, plain: Callable[[], PreTrainedModel]
) -> Iterator[Loss]:
    """Round the backbone's weights in every forward pass, and minimize how far its features are from the plain model's.

    The loss is ``d(features) + hidden · mean d(hidden states)``, where d is the squared difference as a share of the
    variance that the plain model's values have over the batch.
    """
    teacher = plain().eval().requires_grad_(False)
    names = encoder_layers(name for name, _ in backbone_linears(model))
    prepare_qat_(model, grid)
    with _watched(model, names) as found, _watched(teacher, names) as wanted:

        def loss(inputs: Mapping[str, Tensor], output: Any) -> Tensor:
            pixels = inputs["pixel_values"]
            with torch.no_grad():
                nn.Module.to(teacher, pixels.device)(pixel_values=pixels)
            features, *hidden = (_distance(found[name], wanted[name]) for name in wanted)
            return features + recipe.hidden * torch.stack(hidden).mean()

        yield loss
    strip_qat_(model)


@contextmanager
def _watched(model: PreTrainedModel, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """What the head takes, under the name "", and what encoder layers return; of the last forward pass."""
    seen: dict[str, Tensor] = {}
    heads = [child for child in model.children() if type(child) is nn.Linear]
    if len(heads) != 1:
        raise QVecError(
            f"recipe 'distill': expected one linear head, found {len(heads)} in {type(model).__name__}; use 'ste'"
        )

    def returned(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_: nn.Module, args: Any, output: Any) -> None:
            seen[name] = output[0] if isinstance(output, tuple) else output

        return keep

    with ExitStack() as hooks:
        seen[""] = torch.empty(0)  # the first of all
        hooks.callback(heads[0].register_forward_pre_hook(lambda _, args: seen.update({"": args[0]})).remove)
        for name in names:
            hooks.callback(model.get_submodule(name).register_forward_hook(returned(name)).remove)
        yield seen


def _distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Squared difference as a share of the variance over images and tokens, of ``(images, …, features)``."""
    found, wanted = (each.float().flatten(0, -2) for each in (found, wanted))
    return (found - wanted).square().mean() / wanted.var(0, unbiased=False).mean().clamp_min(1e-12)
