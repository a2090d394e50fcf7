"""Trellis codes: a weight's value depends on its own code and those above it. Imports nothing of this package."""

from .levels import FANS, deviation, levels_of
from .search import best_paths

__all__ = ["FANS", "best_paths", "deviation", "levels_of"]
