"""A model to evaluate: an object, or the name of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ..errors import QVecError

__all__ = ["resolve_model"]


def resolve_model(model: Any, **how: Any) -> nn.Module:
    """The model itself, or the one at a folder or Hub id, loaded by `qvec_hub.from_pretrained` with `how`.

    Raises:
        QVecError: when it is neither, or cannot be loaded.
    """
    if isinstance(model, nn.Module):
        return model
    if isinstance(model, (str, Path)):
        return _load(str(model), **how)
    raise QVecError(f"model: expected a model, or a folder or Hub id of one, found {type(model).__name__}")


def _load(name: str, **how: Any) -> nn.Module:
    import qvec_hub  # the public loader lives above this room

    if hasattr(qvec_hub, "from_pretrained"):
        return qvec_hub.from_pretrained(name, **how)
    from transformers import AutoModelForImageClassification

    try:
        return AutoModelForImageClassification.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise QVecError(f"model {name!r}: expected an image classification model, found {error}") from error
