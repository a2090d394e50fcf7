"""How far one model's outputs are from another's, for each kind of classification head."""

from __future__ import annotations

import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import QVecError

__all__ = ["MULTI_LABEL", "REGRESSION", "SINGLE_LABEL", "distance", "problem_of"]

SINGLE_LABEL, MULTI_LABEL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
WORST = sys.float_info.max  # distance of outputs that are not finite; JSON can hold it


def problem_of(config: Any) -> str:
    """The kind of problem as transformers determines it: the config's ``problem_type``, else the number of labels.

    Raises:
        QVecError: when transformers does not know the problem type, or it is single-label with one label.
    """
    problem, labels = getattr(config, "problem_type", None), getattr(config, "num_labels", None)
    if problem is None:
        return REGRESSION if labels in (0, 1) else SINGLE_LABEL
    if problem not in (SINGLE_LABEL, MULTI_LABEL, REGRESSION):
        raise QVecError(
            f"problem_type: expected {SINGLE_LABEL!r}, {MULTI_LABEL!r} or {REGRESSION!r} in the model's config, found "
            f"{problem!r}"
        )
    if problem == SINGLE_LABEL and labels == 1:
        raise QVecError(
            f"problem_type: {SINGLE_LABEL!r} with num_labels=1 gives every image the same answer; set the config's "
            f"problem_type to {REGRESSION!r} or {MULTI_LABEL!r}"
        )
    return problem


def distance(expected: Tensor, found: Tensor, problem: str) -> float:
    """Distance of logits from the expected ones, as a mean over images; 0 when they agree.

    With p and q the probabilities of `expected` and `found`:

    - single-label: the KL divergence of softmaxes, ``Σ_c p_c ln(p_c / q_c)``, in nats;
    - multi-label: the KL divergence of independent sigmoids,
      ``Σ_c p_c ln(p_c / q_c) + (1 − p_c) ln((1 − p_c) / (1 − q_c))``, in nats;
    - regression: ``(y − ŷ)²`` divided by the variance of y among the images, as a mean over outputs; for an output
      that is the same for all images, the squared error itself.

    Args:
        expected: float ``(images, outputs)``, finite.
        found: float ``(images, outputs)``; values that are not finite give `WORST`.
    """
    expected, found = expected.double(), found.double()
    if problem == REGRESSION:
        variance = expected.var(dim=0, correction=0)  # (outputs,)
        least = torch.finfo(torch.float32).eps * expected.square().mean(dim=0)  # a constant, but for its last bits
        scale = torch.where(variance > least, variance, 1.0)
        per_image = ((found - expected).square() / scale).mean(dim=1)
    elif problem == MULTI_LABEL:
        p, yes, no = expected.sigmoid(), F.logsigmoid, lambda logits: F.logsigmoid(-logits)
        per_image = (p * (yes(expected) - yes(found)) + (1 - p) * (no(expected) - no(found))).sum(dim=1)
    else:
        ours, theirs = F.log_softmax(expected, dim=1), F.log_softmax(found, dim=1)
        per_image = (ours.exp() * (ours - theirs)).sum(dim=1)
    value = float(per_image.mean())
    return value if value < WORST else WORST  # also where it is NaN
