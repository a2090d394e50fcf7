"""Quantization grids: which values a weight may take, and rounding to them.

A *unit* is the set of weights that share one scale: the whole tensor, one output row ("channel"),
or ``group_size`` consecutive inputs of one row ("group"). All functions here are pure, compute in
float32 whatever the dtype they are given, and know nothing of models.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import GridError
from .untrusted import printable

__all__ = [
    "Grid",
    "Quantized",
    "dequantize",
    "fake_quantize",
    "nearest_codes",
    "quantize",
    "scale_shape",
    "spread_units",
]

MIN_SCALE = 1e-8  # the authors' lower clamp: an all-zero row keeps a finite scale
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
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 2 <= self.bits <= 8:
            raise GridError(f"grid: bits must be an integer from 2 to 8, found {_shown(self.bits)}")
        if self.granularity not in GRANULARITIES:
            raise GridError(
                f"grid: granularity must be one of {_listed(GRANULARITIES)}, found {_shown(self.granularity)}"
            )
        if self.range not in list(RANGE_RULES):  # a list, since what is found may have no hash
            raise GridError(f"grid: range must be one of {_listed(RANGE_RULES)}, found {_shown(self.range)}")
        if not isinstance(self.symmetric, bool):
            raise GridError(f"grid: symmetric must be true or false, found {_shown(self.symmetric)}")
        if self.granularity == "group":
            size = self.group_size
            if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_GROUP_SIZE:
                raise GridError(
                    f"grid: granularity 'group' needs a group_size from 1 to {MAX_GROUP_SIZE}, found {_shown(size)}"
                )
        elif self.group_size is not None:
            raise GridError(
                f"grid: group_size={_shown(self.group_size)} goes only with granularity='group', "
                f"found {self.granularity!r}"
            )
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
        GridError: when the weight holds NaN or infinity, or is not a floating tensor of two or more dimensions.
    """
    if not weight.is_floating_point() or weight.ndim < 2:
        raise GridError(
            f"quantize: expected a floating tensor of at least 2 dimensions, found {tuple(weight.shape)} {weight.dtype}"
        )
    units = _to_units(weight, grid)  # (units, size)
    scale, shift = _fit(units, grid)
    finite = torch.isfinite(scale) if shift is None else torch.isfinite(scale) & torch.isfinite(shift)
    if not bool(finite.all()):
        raise GridError(f"quantize: a weight of shape {tuple(weight.shape)} holds NaN or infinity")
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
    return _from_units(_values_(units, scale.reshape(-1, 1), shift), codes.shape, grid)


def fake_quantize(weight: Tensor, grid: Grid) -> Tensor:
    """The grid's values nearest to a weight, in its shape and dtype.

    With ``range="absmax"`` and one scale per row this is arXiv 2604.03420's fake quantization:
    ``s = max|w| / qmax`` (at least 1e-8), ``clamp(round(w / s), qmin, qmax) * s``, halves to even.
    Computed in float32 and cast back once. Not differentiable: see `qvec_hub.training` for that.
    """
    with torch.no_grad():
        units = _to_units(weight.detach(), grid)
        scale, shift = _fit(units, grid)
        values = _values_(nearest_codes(units, scale, shift, grid), scale, shift)
        return _from_units(values, weight.shape, grid).to(weight.dtype)


# Range rules: units (units, size) float32 -> scale (units, 1), shift (units, 1) or None.
RangeRule = Callable[[Tensor, "Grid"], "tuple[Tensor, Tensor | None]"]
RANGE_RULES: dict[str, RangeRule] = {}


def range_rule(name: str) -> Callable[[RangeRule], RangeRule]:
    def register(rule: RangeRule) -> RangeRule:
        RANGE_RULES[name] = rule
        return rule

    return register


@range_rule("absmax")
def absmax(units: Tensor, grid: Grid) -> tuple[Tensor, Tensor | None]:
    """The outermost code stands for the largest magnitude (the paper's rule); affine: min to max."""
    # Two passes, yet several times faster than torch.aminmax along rows; (units, 1) each.
    low, high = units.amin(dim=1, keepdim=True), units.amax(dim=1, keepdim=True)
    if grid.symmetric:
        return (torch.maximum(high, -low) / grid.qmax).clamp_(min=MIN_SCALE), None
    return ((high - low) / (grid.qmax - grid.qmin)).clamp_(min=MIN_SCALE), -low


@range_rule("mse")
def mse(units: Tensor, grid: Grid) -> tuple[Tensor, Tensor | None]:
    """The scale (and shift) with the least squared error per unit.

    For fixed codes ``q`` the best scale is a least-squares fit, ``<w, q> / <q, q>``. From the best of a few
    fractions of absmax, rounding and fitting alternate; the best pair seen is kept. Absmax itself is among
    the candidates, so no unit ends worse than absmax.
    """
    rows = MSE_BLOCK // units.shape[1]
    # Blocks of a few long units would be summed by several threads, in another order: not the same bits.
    if rows < 16 or units.device.type != "cpu" or torch.compiler.is_compiling():
        return _mse(units, grid)
    # The search passes over the units more than a hundred times: on a CPU, block by block within its cache.
    scales, shifts = zip(*(_mse(block, grid) for block in units.split(rows)), strict=True)
    return torch.cat(scales), None if grid.symmetric else torch.cat(shifts)


def _mse(units: Tensor, grid: Grid) -> tuple[Tensor, Tensor | None]:
    top, shift = absmax(units, grid)
    best = _Best(top, shift, _squared_error(units, top, shift, grid))
    for fraction in _fractions(grid.bits):
        best.offer(top * fraction, shift, _squared_error(units, top * fraction, shift, grid))
    for _ in range(MSE_ROUNDS):
        codes = nearest_codes(units, best.scale, best.shift, grid)
        scale, shift = _least_squares(units, codes, best.scale, best.shift)
        best.offer(scale, shift, _squared_error(units, scale, shift, grid))
    return best.scale, best.shift


MSE_BLOCK = 1 << 17  # weights; half a megabyte of float32, a few of which fit in a core's cache
MSE_ROUNDS = 4
MSE_SEARCH = {2: (0.2, 16), 3: (0.35, 10), 4: (0.5, 6)}  # bits -> smallest fraction of absmax, how many


def _fractions(bits: int) -> list[float]:
    smallest, count = MSE_SEARCH.get(bits, (0.7, 3))
    return [1.0 - (1.0 - smallest) * step / count for step in range(1, count + 1)]


@dataclass
class _Best:
    """The scale and shift with the least error so far, unit by unit."""

    scale: Tensor
    shift: Tensor | None
    error: Tensor

    def offer(self, scale: Tensor, shift: Tensor | None, error: Tensor) -> None:
        better = error < self.error
        self.error = torch.where(better, error, self.error)
        self.scale = torch.where(better, scale, self.scale)
        if self.shift is not None and shift is not None:
            self.shift = torch.where(better, shift, self.shift)


@range_rule("hqq")
def hqq(units: Tensor, grid: Grid) -> tuple[Tensor, Tensor | None]:
    """Half-quadratic quantization: a robust (Lp, p = 0.7) fit of the shift at the min-max scale.

    Badri & Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", with the constants
    of optimum-quanto's ``HqqOptimizer``, which packs only 2- and 4-bit codes and so cannot serve here.
    """
    scale, shift = absmax(units, grid)
    assert shift is not None  # Grid refuses symmetric hqq
    beta, kappa, power = 10.0, 1.01, 0.7
    quantized = _values_(nearest_codes(units, scale, shift, grid), scale, shift)
    best = (units - quantized).abs().mean()
    for _ in range(20):
        error = units - quantized
        shrunk = error.sign() * F.relu(error.abs() - error.abs().pow(power - 1) / beta)
        codes = nearest_codes(units, scale, shift, grid)
        candidate = (codes * scale - (units - shrunk)).mean(dim=1, keepdim=True)
        trial = _values_(nearest_codes(units, scale, candidate, grid), scale, candidate)
        deviation = (units - trial).abs().mean()
        if not deviation < best:
            break
        best, shift, quantized, beta = deviation, candidate, trial, beta * kappa
    return scale, shift


def _fit(units: Tensor, grid: Grid) -> tuple[Tensor, Tensor | None]:
    if units.numel() == 0:
        scale = units.new_full((units.shape[0], 1), MIN_SCALE)
        return scale, None if grid.symmetric else torch.zeros_like(scale)
    return RANGE_RULES[grid.range](units, grid)


def nearest_codes(weight: Tensor, scale: Tensor, shift: Tensor | None, grid: Grid, out: Tensor | None = None) -> Tensor:
    """The integer codes qmin…qmax nearest to float32 weights, as float32, in fresh memory or in `out`.

    Args:
        scale, shift: of shapes that broadcast with the weight's.
    """
    if shift is not None:
        weight = torch.add(weight, shift, out=out)
    return torch.div(weight, scale, out=out).round_().clamp_(grid.qmin, grid.qmax)


def _values_(codes: Tensor, scale: Tensor, shift: Tensor | None) -> Tensor:
    values = codes.mul_(scale)
    return values if shift is None else values.sub_(shift.reshape(-1, 1))


def _squared_error(units: Tensor, scale: Tensor, shift: Tensor | None, grid: Grid) -> Tensor:
    values = _values_(nearest_codes(units, scale, shift, grid), scale, shift)
    return values.sub_(units).square_().sum(dim=1, keepdim=True)  # (units, 1)


def _least_squares(units: Tensor, codes: Tensor, scale: Tensor, shift: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The scale and shift that fit ``codes * scale - shift`` to the units best; kept where undetermined."""
    if shift is None:
        norm = codes.square().sum(dim=1, keepdim=True)
        fitted = (units * codes).sum(dim=1, keepdim=True) / norm
        return torch.where((norm > 0) & (fitted > MIN_SCALE), fitted, scale), None
    unit_mean, code_mean = units.mean(dim=1, keepdim=True), codes.mean(dim=1, keepdim=True)
    spread = (codes - code_mean).square_().sum(dim=1, keepdim=True)
    fitted = ((units - unit_mean) * (codes - code_mean)).sum(dim=1, keepdim=True) / spread
    usable = (spread > 0) & (fitted > MIN_SCALE)
    scale = torch.where(usable, fitted, scale)
    return scale, torch.where(usable, code_mean * scale - unit_mean, shift)


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
    """(out, in, …) -> (units, size) float32; a short last group is filled with zeros."""
    flat = weight.float()
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
