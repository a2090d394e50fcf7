"""How many tokens a model cuts an image into."""

from __future__ import annotations

from typing import Any

__all__ = ["tokens_per_image"]


def tokens_per_image(config: Any, height: int, width: int) -> int | None:
    """Patches and the class token of an image of so many pixels; None where the config names no patch size."""
    patch = getattr(config, "patch_size", None)
    return (height // patch) * (width // patch) + 1 if isinstance(patch, int) and patch > 0 else None
