"""Encoder layers by the names of what they hold."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["blocks_of", "encoder_layers"]


def blocks_of(names: Iterable[str]) -> dict[str, list[str]]:
    """Block -> its linear layers: what is quantized together, an encoder layer or, outside of those, one layer alone.

    An encoder layer is the innermost numbered module around a linear layer, as ``vit.layers.3``. Where numbered
    modules hold others (a Swin stage its layers), what lies between is quantized one linear layer at a time.
    """
    numbered = {name: _numbered(name) for name in names}
    blocks: dict[str, list[str]] = {}
    for name, block in numbered.items():
        holds_others = any(other.startswith(f"{block}.") for other in numbered.values())
        blocks.setdefault(name if holds_others else block, []).append(name)
    return blocks


def encoder_layers(names: Iterable[str]) -> list[str]:
    """The names of the encoder layers among the blocks of some linear layers."""
    return [block for block, members in blocks_of(names).items() if members != [block]]


def _numbered(name: str) -> str:
    """The name up to its last number; the whole name without any."""
    parts = name.split(".")
    last = max((place for place, part in enumerate(parts) if part.isdigit()), default=len(parts) - 1)
    return ".".join(parts[: last + 1])
