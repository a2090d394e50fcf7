"""Quantization-aware training: straight-through fake quantization of a backbone's linear weights.

The forward pass uses ``fake_quantize(weight, grid)``, the same function as post-training quantization; the gradient
passes unchanged to the float weight (arXiv 2604.03420).
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..backbone.names import backbone_linears
from ..errors import QVecError
from ..grid.grid import Grid
from ..grid.quantize import fake_quantize

__all__ = ["QATLinear", "prepare_qat_", "strip_qat_"]

Model = TypeVar("Model", bound=PreTrainedModel)


class StraightThrough(torch.autograd.Function):
    """``fake_quantize`` forwards, the identity backwards. Saves nothing for the backward pass."""

    @staticmethod
    def forward(weight: Tensor, grid: Grid) -> Tensor:
        return fake_quantize(weight, grid)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Grid], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class QATLinear(nn.Linear):
    """A linear layer that multiplies by its weight rounded to `grid`.

    Parameters and state-dict keys are those of `nn.Linear`. `prepare_qat_` changes the class of existing layers instead
    of constructing new ones, so that no tensor is copied or renamed.
    """

    grid: Grid

    def forward(self, input: Tensor) -> Tensor:
        """(…, in_features) -> (…, out_features)"""
        return F.linear(input, StraightThrough.apply(self.weight, self.grid), self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, grid={self.grid}"


def prepare_qat_(model: Model, grid: Grid | str) -> Model:
    """Make every linear layer of the backbone round its weight to `grid` in the forward pass, in place.

    The head, biases, norms, embeddings and the patch convolution are not changed. The state dict keeps its keys and
    float weights, so a checkpoint saved during training is a plain model.

    Args:
        model: a transformers image classifier or its bare backbone, with float weights.
        grid: a `Grid` or its name, e.g. ``"int3"``.

    Returns:
        The same model.

    Raises:
        GridError: when the grid does not exist.
        MisfitError: when the model's backbone cannot be determined.
        QVecError: when the model is already prepared, has no linear layer in its backbone, or has quantized or adapted
            layers there.
    """
    grid = Grid.parse(grid)
    layers = list(backbone_linears(model))
    if not layers:
        raise QVecError(
            f"prepare_qat_: expected linear layers in the backbone of the model, found none in {type(model).__name__}; "
            "pass a transformers vision model such as ViTForImageClassification"
        )
    for name, layer in layers:
        _check_plain(name, layer)
    for _, layer in layers:
        layer.__class__ = QATLinear
        layer.grid = grid  # type: ignore[assignment]  # nn.Module declares attributes as tensors and modules
    return model


def strip_qat_(model: Model) -> Model:
    """Undo `prepare_qat_` in place: plain `nn.Linear` layers that hold the trained float weights.

    Returns:
        The same model.

    Raises:
        QVecError: when no layer of the model is prepared.
    """
    layers = [module for module in model.modules() if isinstance(module, QATLinear)]
    if not layers:
        raise QVecError(
            f"strip_qat_: expected a model prepared for quantization-aware training, found a plain "
            f"{type(model).__name__}; call prepare_qat_(model, grid) first"
        )
    for layer in layers:
        layer.__class__ = nn.Linear  # type: ignore[assignment]
        del layer.grid
    return model


def _check_plain(name: str, layer: nn.Linear) -> None:
    if isinstance(layer, QATLinear):
        raise QVecError(
            f"prepare_qat_: expected a plain model, but layer '{name}' is prepared already (grid {layer.grid}); "
            "call strip_qat_(model) first"
        )
    if type(layer) is not nn.Linear or not layer.weight.is_floating_point():
        raise QVecError(
            f"prepare_qat_: layer '{name}': expected a plain float Linear, found {type(layer).__name__} with a "
            f"{layer.weight.dtype} weight; load the float model, without quantization or adapters"
        )
