"""The scale rules that come with this package, one file a rule; importing this package registers them."""

from . import absmax, mse, hqq, trellis  # noqa: F401  # isort: skip
