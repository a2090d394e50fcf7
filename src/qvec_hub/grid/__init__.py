"""Which values a weight may take: `Grid`, the scale rules, rounding to the nearest value, and packing of codes.

Pure functions of tensors that know nothing of models; imports only `util`.
"""

from . import scale_rules  # noqa: F401  # registers the scale rules of this package
