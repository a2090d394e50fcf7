"""Labels, and predictions to compare with, as ids of a model's head."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn

from ..apply.criterion import SINGLE_LABEL, problem_of
from ..data.classes import class_names, class_order, model_ids, model_names
from ..errors import DataError
from .images import PreprocessedImages
from .models import resolve_model

__all__ = ["Reference", "labels_for", "refuse_other_heads"]


def refuse_other_heads(model: nn.Module) -> None:
    """Raise DataError unless the model's head chooses one class an image: other heads have no top-1."""
    config = getattr(model, "config", None)
    problem = problem_of(config)
    if problem != SINGLE_LABEL:
        raise DataError(
            f"model {type(model).__name__}: expected a head that chooses one class an image, found one for {problem} "
            f"with {getattr(config, 'num_labels', None)} labels, whose largest logit is not an answer; evaluate it "
            "with a metric of that problem"
        )


def labels_for(images: Dataset | PreprocessedImages, model: nn.Module) -> Tensor:
    """Labels int64 ``(n,)``, as ids of the model's head.

    Raises:
        DataError: when the images have other classes than the head.
    """
    if isinstance(images, PreprocessedImages):
        labels, names = images.labels, images.names
    else:
        labels = torch.as_tensor(np.asarray(images.with_format("numpy")["label"][:]))
        names = class_names(images)
    config = getattr(model, "config", None)
    num_labels = getattr(config, "num_labels", None)
    if num_labels is None:
        return labels
    said = (getattr(config, "id2label", None), getattr(config, "label2id", None))
    return torch.as_tensor(model_ids(labels.numpy(), names, num_labels, *said))


class Reference:
    """What a model's agreement is counted with: another model, or label ids that it predicted.

    Args:
        reference: a model, a folder or Hub id of one, integer label ids ``(n,)``, or None for neither.
        model: the model that is evaluated.

    Raises:
        DataError: when the other model has another number of classes.
        QVecError: when there is no such model.
    """

    def __init__(self, reference: Any, model: nn.Module) -> None:
        self.ids = reference if isinstance(reference, Tensor) else None
        self.models = [] if reference is None or self.ids is not None else [resolve_model(reference)]
        self._order: Tensor | None = None
        for other in self.models:
            classes = [getattr(getattr(each, "config", None), "num_labels", None) for each in (model, other)]
            if None not in classes and classes[0] != classes[1]:
                raise DataError(
                    f"reference: expected the {classes[0]} classes of the model, found {classes[1]}; "
                    "pass a model of the same task"
                )

    def match(self, model: nn.Module, n: int) -> None:
        """Match the classes of both models, or check predictions for `n` images.

        Raises:
            DataError: when they cannot be compared.
        """
        for other in self.models:
            self._order = _order(other, model)
        if self.ids is not None:
            if self.ids.shape != (n,) or self.ids.is_floating_point():
                raise DataError(
                    f"reference: expected {n} predicted label ids, one an image, found {tuple(self.ids.shape)} "
                    f"{self.ids.dtype}; predict on the same dataset with the same limit"
                )
            self.ids = self.ids.cpu()

    def predictions(self, positions: Tensor, logits: Tensor | None) -> Tensor | None:
        """Label ids ``(b,)`` for a batch, as the evaluated model counts them; None without a reference.

        Args:
            positions: of the batch among all images, ``(b,)``.
            logits: of the other model, ``(b, classes)``, if there is one.
        """
        if logits is None:
            return None if self.ids is None else self.ids[positions]
        ids = logits.argmax(dim=1)
        return ids if self._order is None else self._order[ids]


def _order(reference: nn.Module, model: nn.Module) -> Tensor | None:
    """For each output of the reference model, the model's id of that class; None if the ids agree."""
    theirs: Any = getattr(reference, "config", None)
    ours: Any = getattr(model, "config", None)
    if getattr(theirs, "num_labels", None) is None or getattr(ours, "num_labels", None) is None:
        return None
    try:
        names = model_names(theirs.id2label, theirs.num_labels, theirs.label2id)
        order = class_order(names, ours.num_labels, ours.id2label, ours.label2id)
    except DataError as error:
        raise DataError(f"reference: expected a model of the same classes; {error}") from error
    return None if order is None else torch.as_tensor(order)
