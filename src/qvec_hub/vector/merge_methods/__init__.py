"""Merge methods, one file a method: pure functions from the vectors' tensors to one. Importing this registers them."""

from . import mean, norm_mean, ties, dare_linear, dare_ties, magnitude_prune  # noqa: F401  # isort: skip
