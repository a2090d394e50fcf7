"""How long something takes, in words."""

from __future__ import annotations

__all__ = ["spoken"]


def spoken(seconds: float) -> str:
    """``40 s``, ``35 minutes``, ``2.5 hours``; at least a second."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
