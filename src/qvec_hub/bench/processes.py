"""Which of several processes this is."""

from __future__ import annotations

from accelerate import Accelerator, PartialState

__all__ = ["processes"]


def processes() -> PartialState:
    """The state shared by the processes that torchrun or accelerate launch started; a state of one without them."""
    Accelerator()  # reads ACCELERATE_USE_CPU, which a PartialState that comes first would overlook
    return PartialState()
