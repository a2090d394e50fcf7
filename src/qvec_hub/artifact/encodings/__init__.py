"""The encodings that come with this package, one file a kind; importing this package registers them."""

from . import whole, row_codes  # noqa: F401  # isort: skip
