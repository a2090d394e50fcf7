"""What a vector or a model asks of the room `hub` above it. Looked up when asked for, so that imports run one way."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["push_model", "push_vector", "write_card"]


def write_card(folder: Any, old: Any) -> None:
    """See `qvec_hub.hub.write_card`."""
    _hub().write_card(folder, old)


def push_vector(vector: Any, repo_id: str, **options: Any) -> Any:
    """See `qvec_hub.hub.push_vector`."""
    return _hub().push_vector(vector, repo_id, **options)


def push_model(model: Any, repo_id: str, **options: Any) -> Any:
    """See `qvec_hub.hub.push_model`."""
    return _hub().push_model(model, repo_id, **options)


def _hub() -> Any:
    return import_module(".hub", __package__)
