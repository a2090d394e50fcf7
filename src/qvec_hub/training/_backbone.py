"""Which linear layers belong to the backbone (the ones a grid is applied to)."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

__all__ = ["backbone_linears"]


def backbone_linears(model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Every linear layer of the backbone with its full name; heads and the pooler are left out.

    The backbone is the submodule that ``model.base_model_prefix`` names, or the model itself
    when it is a bare backbone.
    """
    prefix = getattr(model, "base_model_prefix", "")
    has_head = bool(prefix) and isinstance(getattr(model, prefix, None), nn.Module)
    backbone = getattr(model, prefix) if has_head else model
    for name, module in backbone.named_modules(prefix=prefix if has_head else ""):
        if isinstance(module, nn.Linear) and "pooler" not in name.split("."):
            yield name, module
