"""Top-1, top-5 and agreement as exact counts: an `evaluate.Metric` that ships with the package."""

from __future__ import annotations

from typing import Any

import evaluate
import numpy as np
import torch
from datasets import Features, Value
from torch import Tensor

from ..errors import QVecError

__all__ = ["ImageClassificationMetric", "predictions_and_ranks", "refuse_nan"]

TOP = 5
NO_REFERENCE = -1

_INPUTS = """
    predictions: logits (n, classes), floating; tensor, array or nested list.
    references: label ids (n,), from 0 to classes - 1.
    reference_predictions: optional label ids (n,) that another model predicted for the same images.
"""


def predictions_and_ranks(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Predicted id and rank of the true class (0 is top), both int64 ``(n,)``.

    Equal logits rank by id, so the prediction is the first maximum and has rank 0: an image that is right at top-1 is
    also right at top-5.

    Args:
        logits: ``(n, classes)``, floating.
        labels: int64 ``(n,)``.

    Raises:
        QVecError: when logits are NaN.
    """
    refuse_nan(logits)
    own = logits.gather(1, labels[:, None])  # (n, 1)
    ids = torch.arange(logits.shape[1], device=logits.device)
    ahead = (logits > own) | ((logits == own) & (ids < labels[:, None]))  # (n, classes)
    return logits.argmax(dim=1), ahead.sum(dim=1)


def refuse_nan(logits: Tensor) -> None:
    """Raise QVecError when logits are NaN: such a model is broken, and its accuracy is not 0 but undefined."""
    broken = int(logits.isnan().any(dim=1).sum())
    if broken:
        raise QVecError(
            f"model: expected numbers as logits, found NaN for {broken} of {len(logits)} images; its weights were not "
            "loaded, patched or quantized as they should be: load it again and check the warnings"
        )


class ImageClassificationMetric(evaluate.Metric):
    """Counts over all images added, and the shares that follow from them.

    `compute` returns ``n``, ``correct``, ``top1``; ``correct_top5`` and ``top5``, None for fewer than five classes;
    ``agreed`` and ``agreement``, the images on which the prediction equals a reference model's, None unless reference
    predictions were added. Counts are integers, shares are from 0 to 1.

    All data stay in memory: no download, no file, and several metrics may be in use at once. With several processes,
    gather the logits first and add them in each process.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(keep_in_memory=True, **kwargs)
        self._classes: int | None = None
        self._with_reference: bool | None = None

    def _info(self) -> evaluate.MetricInfo:
        # What is stored is what was found at each image, not its logits: five orders of magnitude less to encode.
        stored = {name: Value("int64") for name in ("predictions", "references", "ranks", "reference_predictions")}
        return evaluate.MetricInfo(
            description="Top-1 and top-5 accuracy as exact counts, and agreement with a reference model.",
            citation="",
            inputs_description=_INPUTS,
            features=Features(stored),
            format="numpy",
        )

    def _build_data_dir(self) -> str:
        return ""  # the base class would create an empty folder in the cache

    def add_batch(
        self, *, predictions: Any = None, references: Any = None, reference_predictions: Any = None, **kwargs: Any
    ) -> None:
        """Add the logits and labels of a batch.

        Raises:
            QVecError: when logits are NaN, or shapes, labels and number of classes do not fit together.
        """
        if kwargs:
            raise TypeError(f"add_batch: unknown arguments {sorted(kwargs)}; its inputs are:{_INPUTS}")
        logits, labels = _tensor(predictions), _tensor(references)
        others = None if reference_predictions is None else _tensor(reference_predictions).to(logits.device)
        self._check(logits, labels, others)
        if len(logits) == 0:
            return
        predicted, ranks = predictions_and_ranks(logits, labels.to(logits.device, torch.int64))
        others = torch.full_like(predicted, NO_REFERENCE) if others is None else others
        super().add_batch(
            predictions=_array(predicted),
            references=_array(labels),
            ranks=_array(ranks),
            reference_predictions=_array(others),
        )

    def add(self, *, prediction: Any = None, reference: Any = None, **kwargs: Any) -> None:
        """Add the logits ``(classes,)`` and the label of one image."""
        others = {f"{name}s": [value] for name, value in kwargs.items()}
        self.add_batch(predictions=_tensor(prediction)[None], references=[reference], **others)

    def compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Return the counts over all batches added, after adding the arguments, if any; then reset the metric.

        Raises:
            QVecError: when no batch was added.
        """
        if predictions is not None:
            self.add_batch(predictions=predictions, references=references, **kwargs)
        if self.writer is None:
            raise QVecError("metric: expected at least one image, found none added; call add_batch before compute")
        result = super().compute()
        self._classes = self._with_reference = None
        assert result is not None  # None is for processes above 0, and there are none
        return result

    def _compute(
        self, predictions: np.ndarray, references: np.ndarray, ranks: np.ndarray, reference_predictions: np.ndarray
    ) -> dict[str, Any]:
        n = len(references)
        correct = int((ranks == 0).sum())
        top5 = int((ranks < TOP).sum()) if self._classes is not None and self._classes >= TOP else None
        agreed = int((predictions == reference_predictions).sum()) if self._with_reference else None
        return {
            "n": n,
            "correct": correct,
            "top1": correct / n,
            "correct_top5": top5,
            "top5": None if top5 is None else top5 / n,
            "agreed": agreed,
            "agreement": None if agreed is None else agreed / n,
        }

    def _check(self, logits: Tensor, labels: Tensor, others: Tensor | None) -> None:
        if logits.ndim != 2 or not logits.is_floating_point() or labels.shape != logits.shape[:1]:
            raise QVecError(
                f"metric: expected floating logits (n, classes) and labels (n,), found {tuple(logits.shape)} "
                f"{logits.dtype} and {tuple(labels.shape)}"
            )
        classes = logits.shape[1]
        if len(labels) and (labels.is_floating_point() or int(labels.min()) < 0 or int(labels.max()) >= classes):
            raise QVecError(f"metric: expected integer labels from 0 to {classes - 1}, found {labels.tolist()!r:.80}")
        if others is not None and others.shape != labels.shape:
            raise QVecError(
                f"metric: expected {len(labels)} reference predictions, one an image, found {tuple(others.shape)}"
            )
        if self._classes not in (None, classes) or self._with_reference not in (None, others is not None):
            raise QVecError(
                "metric: expected batches of one kind, found another number of classes, or reference predictions for "
                "some batches only; use one metric a model"
            )
        self._classes, self._with_reference = classes, others is not None


def _tensor(values: Any) -> Tensor:
    return values.detach() if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))


def _array(values: Tensor) -> np.ndarray:
    return values.to("cpu", torch.int64).numpy()
