"""Merge methods: pure functions from the vectors' tensors to one. Importing this package registers them."""

from . import mean, norm_mean, by_peft  # noqa: F401  # isort: skip
