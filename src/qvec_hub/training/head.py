"""Start a head for the base: logistic regression on its features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from accelerate import PartialState
from torch import Tensor, nn
from torch.optim import LBFGS
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from ..errors import QVecError
from .pixels import Pixels, Unlabeled, collate

__all__ = ["fit_head_"]

PENALTY = 1e-4  # times half the squared norm of the weights, beside the mean cross-entropy
ITERATIONS = 200
BATCH = 128


def fit_head_(model: PreTrainedModel, data: Pixels | Unlabeled) -> None:
    """Fit a model's head to the features of its backbone, which is not changed.

    With a random head, the first steps of fine-tuning distort the base's features (Kumar et al., "Fine-Tuning can
    Distort Pretrained Features and Underperform Out-of-Distribution", 2022). The distortion differs between tasks, and
    between the plain and the quantization-aware run, so it would be noise in a vector.

    Raises:
        QVecError: when the model's head is not a linear layer called ``classifier``.
    """
    head = getattr(model, "classifier", None)
    if not isinstance(head, nn.Linear):
        raise QVecError(
            f"recipe: head 'probe' needs a linear layer called 'classifier', found {type(head).__name__} in "
            f"{type(model).__name__}; use head 'random'"
        )
    features, labels = _features(model, head, data)
    mean = features.mean(dim=0)
    spread = features.std(dim=0).clamp_min(1e-6)
    weight, bias = _logistic_regression((features - mean) / spread, labels, head.out_features)
    with torch.no_grad():
        head.weight.copy_(weight / spread)
        head.bias.copy_(bias - (weight / spread) @ mean)


@torch.no_grad()
def _features(model: PreTrainedModel, head: nn.Linear, data: Pixels | Unlabeled) -> tuple[Tensor, Tensor]:
    """What the head is given for each image, ``(images, hidden)`` on the CPU, and labels ``(images,)``."""
    device, mode = PartialState().device, model.training
    seen: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].float().cpu()))
    try:
        nn.Module.to(model.eval(), device)
        for batch in DataLoader(data, BATCH, collate_fn=collate):
            model(batch["pixel_values"].to(device))
    finally:
        hook.remove()
        nn.Module.to(model.train(mode), "cpu")
    return torch.cat(seen), torch.tensor(data.labels)


def _logistic_regression(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Weights ``(classes, hidden)`` and biases ``(classes,)`` of the least penalized cross-entropy."""
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(features @ weight.T + bias, labels) + PENALTY / 2 * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach(), bias.detach()
