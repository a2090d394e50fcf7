"""Quantization grids: which values a weight may take, and rounding to them.

A *unit* is the set of weights that share one scale: the whole tensor, one output row ("channel"),
or ``group_size`` consecutive inputs of one row ("group"). All functions here are pure, compute in
float32 whatever the dtype they are given, and know nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import GridError
from .code_levels import code_levels
from .codes import nearest_codes, values_
from .grid import Grid
from .scale_rules.registry import MIN_SCALE, SCALE_RULES
from .trellis import best_paths

__all__ = ["Quantized", "dequantize", "fake_quantize", "fake_quantize_all", "quantize", "scale_shape", "spread_units"]


class Quantized(NamedTuple):
    """A weight on a grid.

    codes: uint8, the weight's shape; code ``u`` stands for the integer ``u + grid.qmin``, on a trellis for a level.
    scale: float32, ``(rows, groups)``; one column unless the granularity is "group", one row if "tensor".
    shift: like scale, or None on a symmetric grid.
    """

    codes: Tensor
    scale: Tensor
    shift: Tensor | None


def quantize(weight: Tensor, grid: Grid, overwrite: bool = False) -> Quantized:
    """Round a weight ``(out, in, …)`` to nearest on the grid, on a trellis to the nearest path down each column.

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
    scale, shift = fit_scales(units, grid)
    finite = torch.isfinite(scale) if shift is None else torch.isfinite(scale) & torch.isfinite(shift)
    if not bool(finite.all()):
        raise GridError(
            f"quantize: a weight of shape {tuple(weight.shape)} holds NaN or infinity, or numbers further apart than "
            "float32 can tell; expected finite weights"
        )
    shape = scale_shape(weight.shape, grid)
    if grid.trellis:
        return _nearest_paths(weight, scale.reshape(shape), grid)
    values = nearest_codes(units, scale, shift, grid, out=units if overwrite else None)
    # Through signed bytes, the fastest conversion there is; the offset is added with wrap-around.
    codes = values.to(torch.int8).view(torch.uint8) if grid.symmetric else values.to(torch.uint8)
    return Quantized(
        _from_units(codes.sub_(grid.qmin % 256), weight.shape, grid),
        scale.reshape(shape),
        None if shift is None else shift.reshape(shape),
    )


def _nearest_paths(weight: Tensor, scale: Tensor, grid: Grid) -> Quantized:
    rows = weight.reshape(len(weight), -1).float()
    spread = spread_units(scale, rows.shape, grid)
    codes, _ = best_paths(rows.T, spread.T, grid.fan)
    return Quantized(codes.T.contiguous().view(weight.shape), scale, None)


def dequantize(codes: Tensor, scale: Tensor, shift: Tensor | None, grid: Grid) -> Tensor:
    """The float32 values of codes: ``(u + qmin) * scale`` or, on an affine grid, ``u * scale - shift``.

    On a trellis, ``level * scale``.

    Args:
        codes, scale, shift: as in `Quantized`; the values have the shape of the codes.
    """
    units = _to_units(code_levels(codes, grid), grid)
    shift = None if shift is None else shift.reshape(-1, 1)
    return _from_units(values_(units, scale.reshape(-1, 1), shift), codes.shape, grid)


def fake_quantize(weight: Tensor, grid: Grid | str) -> Tensor:
    """The grid's values nearest to a weight, in its shape and dtype.

    With ``range="absmax"`` and one scale per row this is arXiv 2604.03420's fake quantization:
    ``s = max(max|w|, 1e-8) / qmax``, ``clamp(round(w / s), qmin, qmax) * s``, halves to even.
    Computed in float32 and cast back once. Not differentiable: see `qvec_hub.training` for that.

    Args:
        weight: floating, ``(out, in, …)``.
        grid: a `Grid` or its name.

    Raises:
        GridError: when the grid does not exist.
    """
    grid = Grid.parse(grid)
    with torch.no_grad():
        if grid.trellis:
            return dequantize(*quantize(weight.detach(), grid), grid).to(weight.dtype)
        units = _to_units(weight.detach(), grid)
        scale, shift = fit_scales(units, grid)
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


def fit_scales(units: Tensor, grid: Grid) -> tuple[Tensor, Tensor | None]:
    """Scale ``(units, 1)`` and shift (the same, or None) by the grid's rule; of no weights at all the least scale."""
    if units.numel() == 0:
        scale = units.new_full((units.shape[0], 1), MIN_SCALE)
        return scale, None if grid.symmetric else torch.zeros_like(scale)
    return SCALE_RULES.get(grid.range).fit(units, grid)


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


ENOUGH = 1 << 20  # numbers in a call, from which on more of them save nothing and only cost memory


def fake_quantize_all(weights: Mapping[str, Tensor], grid: Grid) -> Iterator[tuple[str, Tensor]]:
    """Yield name and `fake_quantize` of each weight, to the bit; rows of one length go together where they may.

    A weight may be overwritten as soon as its own values were yielded.
    """
    if not grid.rows_are_independent:
        for name, weight in weights.items():
            yield name, fake_quantize(weight, grid)
        return
    for names in _alike(weights):
        rows = fake_quantize(torch.cat([weights[name] for name in names]), grid)
        yield from zip(names, rows.split([len(weights[name]) for name in names]), strict=True)


def _alike(weights: Mapping[str, Tensor]) -> Iterator[list[str]]:
    """Names of weights that fit under each other, so many at a time that they hold `ENOUGH` numbers."""
    waiting: dict[Any, list[str]] = {}
    for name, weight in weights.items():
        key = (weight.shape[1:], weight.dtype, weight.device)
        names = waiting.setdefault(key, [])
        names.append(name)
        if sum(weights[each].numel() for each in names) >= ENOUGH:
            yield waiting.pop(key)
    yield from waiting.values()
