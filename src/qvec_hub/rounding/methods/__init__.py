"""The roundings that come with this package, one file a method; importing this package registers them."""

from . import nearest, gptq, fitted, tuned  # noqa: F401  # isort: skip
