"""Donor recipes, one file a recipe: how a model is trained for a grid. Importing this package registers them."""

from . import distill, ste  # noqa: F401
