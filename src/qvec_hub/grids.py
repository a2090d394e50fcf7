"""Quantization grids: which values a weight may take, and rounding to them.

A *unit* is the set of weights that share one scale: the whole tensor, one output row ("channel"),
or ``group_size`` consecutive inputs of one row ("group"). All functions here are pure, compute in
float32 whatever the dtype they are given, and know nothing of models.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import GridError
from .ranges import RANGE_RULES, fit, nearest_codes, values_
from .scalars import integer_in
from .untrusted import printable

__all__ = [
    "Grid",
    "Quantized",
    "dequantize",
    "fake_quantize",
    "quantize",
    "scale_shape",
    "spread_units",
]

GRANULARITIES = ("tensor", "channel", "group")
MAX_GROUP_SIZE = 1 << 16  # rows are filled up to whole groups, and no linear layer of a ViT has rows this long


@dataclass(frozen=True)
class Grid:
    """The set of representable values.

    Args:
        bits: width of a code, 2 to 8.
        granularity: what shares a scale: ``"tensor"``, ``"channel"`` (an output row) or ``"group"``.
        range: the rule that picks the scale: ``"absmax"`` (the paper's), ``"mse"`` or ``"hqq"``.
        symmetric: codes ``-2**(bits-1) … 2**(bits-1)-1`` times the scale; otherwise ``0 … 2**bits-1``
            times the scale minus a shift.
        group_size: inputs per scale; only with ``granularity="group"``. A last, shorter group is fine.

    Raises:
        GridError: when the combination does not exist.
    """

    bits: int = 3
    granularity: str = "channel"
    range: str = "absmax"
    symmetric: bool = True
    group_size: int | None = None

    def __post_init__(self) -> None:
        bits = integer_in(self.bits)
        if bits is None or not 2 <= bits <= 8:
            raise GridError(f"grid: bits must be an integer from 2 to 8, found {_shown(self.bits)}")
        if self.granularity not in list(GRANULARITIES):
            raise GridError(
                f"grid: granularity must be one of {_listed(GRANULARITIES)}, found {_shown(self.granularity)}"
            )
        if self.range not in list(RANGE_RULES):  # a list, since what is found may have no hash
            raise GridError(f"grid: range must be one of {_listed(RANGE_RULES)}, found {_shown(self.range)}")
        if not isinstance(self.symmetric, bool):
            raise GridError(f"grid: symmetric must be true or false, found {_shown(self.symmetric)}")
        if self.granularity == "group":
            size = integer_in(self.group_size)
            if size is None or not 1 <= size <= MAX_GROUP_SIZE:
                raise GridError(
                    f"grid: granularity 'group' needs a group_size from 1 to {MAX_GROUP_SIZE}, found "
                    f"{_shown(self.group_size)}"
                )
            object.__setattr__(self, "group_size", size)
        elif self.group_size is not None:
            raise GridError(
                f"grid: group_size={_shown(self.group_size)} goes only with granularity='group', "
                f"found {self.granularity!r}"
            )
        object.__setattr__(self, "bits", bits)  # a plain integer, whatever library it came from
        if self.range == "hqq" and self.symmetric:
            raise GridError("grid: range 'hqq' optimizes the shift of an affine grid; pass symmetric=False")

    @property
    def qmin(self) -> int:
        return -(2 ** (self.bits - 1)) if self.symmetric else 0

    @property
    def qmax(self) -> int:
        return 2 ** (self.bits - 1) - 1 if self.symmetric else 2**self.bits - 1

    @property
    def name(self) -> str:
        """For people and tags, e.g. ``int3-channel-absmax``; `Grid.parse` reads it back."""
        granularity = f"group{self.group_size}" if self.granularity == "group" else self.granularity
        return f"int{self.bits}-{granularity}-{self.range}" + ("" if self.symmetric else "-affine")

    @classmethod
    def parse(cls, spec: Grid | str | dict[str, Any]) -> Grid:
        """A grid from ``"int3"`` (the default grid of that width), a full `name`, a dict, or a grid.

        Raises:
            GridError: when `spec` names no grid.
        """
        if isinstance(spec, Grid):
            return spec
        if isinstance(spec, dict):
            return cls.from_dict(spec)
        match = isinstance(spec, str) and _NAME.fullmatch(spec)
        if not match:
            raise GridError(
                f"grid: expected a name such as 'int3' or 'int2-channel-mse', or a Grid, found {_shown(spec)}; "
                "widths are int2 to int8"
            )
        size = match["size"]
        return cls(
            bits=int(match["bits"]),
            granularity="group" if size else match["granularity"] or "channel",
            range=match["range"] or "absmax",
            symmetric=match["affine"] is None,
            group_size=int(size) if size else None,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Grid:
        """A grid from the values `to_dict` gives; those left out take their defaults.

        Raises:
            GridError: when a key is unknown or the values name no grid.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(str(key) for key in values if key not in known)
        if unknown:
            shown = ", ".join(printable(key, 60) for key in unknown[:8])
            raise GridError(f"grid: unknown keys {shown}; known are {_listed(sorted(known))}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return self.name


class Quantized(NamedTuple):
    """A weight on a grid.

    codes: uint8, the weight's shape; code ``u`` stands for the integer ``u + grid.qmin``.
    scale: float32, ``(rows, groups)``; one column unless the granularity is "group", one row if "tensor".
    shift: like scale, or None on a symmetric grid.
    """

    codes: Tensor
    scale: Tensor
    shift: Tensor | None


def quantize(weight: Tensor, grid: Grid, overwrite: bool = False) -> Quantized:
    """Round a weight ``(out, in, …)`` to nearest on the grid.

    With `overwrite` the memory of `weight` serves as scratch: fresh memory would cost more than the work.

    Raises:
        GridError: when the weight holds NaN or infinity (on an affine grid also: when its numbers lie further apart
            than the largest float32), or is not a floating tensor of two or more dimensions.
    """
    if not weight.is_floating_point() or weight.ndim < 2:
        raise GridError(
            f"quantize: expected a floating tensor of at least 2 dimensions, found {tuple(weight.shape)} {weight.dtype}"
        )
    units = _to_units(weight, grid)  # (units, size)
    scale, shift = fit(units, grid)
    finite = torch.isfinite(scale) if shift is None else torch.isfinite(scale) & torch.isfinite(shift)
    if not bool(finite.all()):
        raise GridError(
            f"quantize: a weight of shape {tuple(weight.shape)} holds NaN or infinity, or numbers further apart than "
            "float32 can tell; expected finite weights"
        )
    values = nearest_codes(units, scale, shift, grid, out=units if overwrite else None)
    # Through signed bytes, the fastest conversion there is; the offset is added with wrap-around.
    codes = values.to(torch.int8).view(torch.uint8) if grid.symmetric else values.to(torch.uint8)
    shape = scale_shape(weight.shape, grid)
    return Quantized(
        _from_units(codes.sub_(grid.qmin % 256), weight.shape, grid),
        scale.reshape(shape),
        None if shift is None else shift.reshape(shape),
    )


def dequantize(codes: Tensor, scale: Tensor, shift: Tensor | None, grid: Grid) -> Tensor:
    """The float32 values of codes: ``(u + qmin) * scale`` or, on an affine grid, ``u * scale - shift``."""
    units = _to_units(codes, grid) + float(grid.qmin)
    return _from_units(values_(units, scale.reshape(-1, 1), shift), codes.shape, grid)


def fake_quantize(weight: Tensor, grid: Grid) -> Tensor:
    """The grid's values nearest to a weight, in its shape and dtype.

    With ``range="absmax"`` and one scale per row this is arXiv 2604.03420's fake quantization:
    ``s = max(max|w|, 1e-8) / qmax``, ``clamp(round(w / s), qmin, qmax) * s``, halves to even.
    Computed in float32 and cast back once. Not differentiable: see `qvec_hub.training` for that.
    """
    with torch.no_grad():
        units = _to_units(weight.detach(), grid)
        scale, shift = fit(units, grid)
        values = values_(nearest_codes(units, scale, shift, grid), scale, shift)
        return _from_units(values, weight.shape, grid).to(weight.dtype)


def scale_shape(shape: torch.Size, grid: Grid) -> tuple[int, int]:
    """(rows, groups) of the scales of a weight ``(out, in, …)``."""
    if grid.granularity == "tensor":
        return 1, 1
    return shape[0], 1 if grid.group_size is None else -(-_row_length(shape) // grid.group_size)


def spread_units(per_unit: Tensor, shape: torch.Size, grid: Grid) -> Tensor:
    """What each weight of an ``(out, in)`` matrix finds in its unit: ``(rows, groups)`` -> ``(out, in)``."""
    if grid.group_size is not None:
        per_unit = per_unit.repeat_interleave(grid.group_size, dim=1)[:, : shape[1]]
    return per_unit.expand(shape)


def _row_length(shape: torch.Size) -> int:
    length = 1
    for size in shape[1:]:
        length *= size
    return length


def _to_units(weight: Tensor, grid: Grid) -> Tensor:
    """(out, in, …) -> (units, size) float32, row by row in memory; a short last group is filled with zeros."""
    flat = weight.float().contiguous()  # sums over a transposed matrix have other last bits
    if grid.granularity == "tensor":
        return flat.reshape(1, -1)
    rows = flat.reshape(weight.shape[0], _row_length(weight.shape))
    if grid.group_size is None:
        return rows
    if rows.shape[1] % grid.group_size:
        rows = F.pad(rows, (0, grid.group_size - rows.shape[1] % grid.group_size))
    return rows.reshape(-1, grid.group_size)


def _from_units(units: Tensor, shape: torch.Size, grid: Grid) -> Tensor:
    length = _row_length(shape)
    if grid.group_size is None or length % grid.group_size == 0:
        return units.reshape(shape)
    whole = -(-length // grid.group_size) * grid.group_size
    return units.reshape(shape[0], whole)[:, :length].reshape(shape)


_NAME = re.compile(
    r"int(?P<bits>\d{1,9})"
    r"(?:-(?:(?P<granularity>tensor|channel)|group(?P<size>\d{1,9})))?"
    r"(?:-(?P<range>(?!affine)[a-z]+))?(?P<affine>-affine)?"
)


def _shown(value: object) -> str:
    try:
        return printable(repr(value), 60)
    except ValueError:  # an integer with more digits than Python prints
        return f"a {type(value).__name__} beyond printing"


def _listed(names: Any) -> str:
    return ", ".join(repr(name) for name in names)
