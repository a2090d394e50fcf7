"""A model to evaluate: an object, or the name of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ..errors import QVecError
from ..loading import from_pretrained

__all__ = ["resolve_model"]


def resolve_model(model: Any, **how: Any) -> nn.Module:
    """The model itself, or the one at a folder or Hub id, loaded by `qvec_hub.from_pretrained` with `how`.

    Raises:
        QVecError: when it is neither, or cannot be loaded.
    """
    if isinstance(model, nn.Module):
        return model
    if isinstance(model, (str, Path)):
        return from_pretrained(model, **how)
    raise QVecError(f"model: expected a model, or a folder or Hub id of one, found {type(model).__name__}")
