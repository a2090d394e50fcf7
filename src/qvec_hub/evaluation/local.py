"""Counting on this process alone, for callers that spread whole models over processes rather than images."""

from __future__ import annotations

import torch
from torch import nn

from ..class_token import only_class_token
from .images import PreprocessedImages
from .metric import refuse_nan
from .runner import forward, labels_for, refuse_other_heads

__all__ = ["count_correct"]


@torch.inference_mode()
def count_correct(model: nn.Module, images: PreprocessedImages, batch_size: int = 250) -> int:
    """How many images a model in evaluation mode, where it is, gets right: `evaluate`'s top-1 count.

    Raises:
        DataError: the images have other classes than the model's head.
        QVecError: NaN among the logits, or images that the model does not take.
    """
    refuse_other_heads(model)
    labels = labels_for(images, model)
    correct = torch.zeros((), dtype=torch.long)
    with only_class_token(model):
        for start in range(0, len(images), batch_size):
            logits = forward(model, images.pixel_values[start : start + batch_size]).float()
            refuse_nan(logits)
            correct += (logits.argmax(dim=1).cpu() == labels[start : start + batch_size]).sum()
    return int(correct)
