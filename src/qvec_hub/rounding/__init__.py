"""Finding codes by what flows through a model, where rounding each weight to the nearest value is not enough.

One file a rounding in `methods`, entered into `registry.ROUNDINGS` when this room is imported; imports `grid` and
`backbone`.
"""

from . import methods  # noqa: F401  # registers the roundings of this package
