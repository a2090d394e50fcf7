"""Rounding a weight matrix so that its outputs change least, not its weights: GPTQ.

The *Hessian* of a linear layer is ``H = 2/N Σ x xᵀ`` over its inputs ``x``: to second order, and for a linear
layer exactly, replacing a row ``w`` by ``ŵ`` changes its squared output by ``½ (w − ŵ) H (w − ŵ)ᵀ``. All functions
are pure and know nothing of models or of where a Hessian comes from.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import QVecError
from ..grid.code_levels import code_levels, round_column
from ..grid.codes import values
from ..grid.grid import Grid
from ..grid.quantize import Quantized, dequantize, quantize, spread_units

__all__ = ["Factored", "check_hessian", "factorize", "gptq", "output_errors", "polish"]

ORDERS = ("activation", "natural")
BLOCK = 64  # columns rounded before the rest of the matrix hears of it; speed alone depends on it
LEAST_DAMPING = 1e-9  # what damping grows from where 0 is too little
POLISH_DAMPING = 0.01
ATTEMPTS = 12  # at factorizing, each with ten times the damping of the one before


def gptq(
    weight: Tensor,
    hessian: Tensor,
    grid: Grid,
    *,
    damping: float = 0.01,
    order: str = "activation",
    start: Quantized | None = None,
    factored: Factored | None = None,
) -> Quantized:
    """Round a weight ``(out, in)`` column by column, each column's error made good by those still to come.

    GPTQ (Frantar et al., 2023, arXiv 2210.17323), on the scales and shifts that `quantize` gives the same weight.
    A row that plain rounding to nearest serves better (by `output_errors`) is rounded to nearest, so no row ends
    with a larger output error; where codes depend on each other, all rows or none. Inputs that were always zero say
    nothing: their columns are rounded to nearest.
    The Hessian is factorized in float64, all else is computed in float32.

    Args:
        hessian: ``(in, in)``, symmetric and positive semi-definite; a factor does not matter.
        damping: added to its diagonal, as a share of the diagonal's mean; raised where it is too little to
            factorize the Hessian.
        order: ``"activation"`` rounds the columns with the largest inputs first, ``"natural"`` from the left.
        start: takes the place of the weight rounded to nearest: its scales and shifts are used, and a row keeps its
            codes where they are better.
        factored: what `factorize` gives for the Hessian and the damping, where it is needed more than once.

    Raises:
        GridError: when the weight holds NaN or infinity.
        QVecError: when the Hessian is not of this weight, damping is negative or the order unknown.
    """
    _check(weight, hessian, damping, order)
    nearest = quantize(weight, grid) if start is None else start
    if not bool(hessian.diagonal().any()):
        return nearest
    columns, factor = factorize(hessian, damping, order) if factored is None else factored
    scale, shift = _by_column(nearest, weight.shape, grid)
    moved = None if shift is None else shift[columns]
    ordered = _codes(weight.float().T[columns].contiguous(), factor, scale[columns], moved, grid)
    codes = torch.empty_like(nearest.codes)
    codes[:, columns] = (ordered.T - grid.qmin).to(torch.uint8)
    errors = [
        output_errors(weight, dequantize(each, nearest.scale, nearest.shift, grid), hessian)
        for each in (codes, nearest.codes)
    ]
    better = (errors[0] < errors[1]).unsqueeze(1) if grid.codes_are_independent else errors[0].sum() < errors[1].sum()
    return nearest._replace(codes=torch.where(better, codes, nearest.codes))


class Factored(NamedTuple):
    """A Hessian as GPTQ needs it.

    columns: the order in which they are rounded. factor: see `_inverse_factor`, of the Hessian in this order, float32.
    """

    columns: Tensor
    factor: Tensor


def factorize(hessian: Tensor, damping: float, order: str = "activation") -> Factored:
    """Order the columns, and factorize the Hessian, in float64; see `gptq` for the arguments.

    Raises:
        QVecError: when no damping makes the Hessian definite.
    """
    hessian = hessian.double()
    diagonal = hessian.diagonal()
    columns = (
        torch.argsort(diagonal, descending=True, stable=True)
        if order == "activation"
        else torch.arange(len(diagonal), device=hessian.device)
    )
    return Factored(columns, _inverse_factor(hessian[columns][:, columns], damping).float())


def polish(weight: Tensor, hessian: Tensor, quantized: Quantized, grid: Grid, *, sweeps: int = 5) -> Quantized:
    """Better codes for given scales: each weight in turn takes the code that is best for all others as they are.

    Coordinate descent on the output error, column after column and all rows at once, which GPTQ's single pass leaves
    to be done. Ends early where a sweep changes nothing. Computed in float32.

    Args:
        weight: ``(out, in)``. hessian: ``(in, in)``, see `gptq`.
    """
    check_hessian(weight, hessian)
    hessian = hessian.to(torch.float32, copy=True)
    diagonal = hessian.diagonal()
    diagonal.add_(POLISH_DAMPING * diagonal.mean())
    scale, shift = _by_column(quantized, weight.shape, grid)
    codes = quantized.codes.T.float().add_(grid.qmin)  # all matrices (in, out): a column's weights lie side by side
    rounded = values(code_levels(quantized.codes, grid).T, scale, shift)
    pull = hessian @ (weight.float().T - rounded)  # minus the error's gradient, kept up to date
    for _ in range(sweeps if bool(diagonal.all()) else 0):
        before = codes.clone()
        for start in range(0, len(codes), BLOCK):
            part = slice(start, min(start + BLOCK, len(codes)))
            old, local = rounded[part].clone(), pull[part].clone()
            own = hessian[part, part]
            for at, column in enumerate(range(part.start, part.stop)):
                wanted = torch.addcdiv(rounded[column], local[at], diagonal[column])
                moved = None if shift is None else shift[column]
                levels = round_column(wanted, scale[column], moved, grid, codes[column])
                value = values(levels, scale[column], moved)
                local.addr_(own[at], value - rounded[column], alpha=-1)
                rounded[column] = value
            pull.addmm_(hessian[:, part], rounded[part] - old, alpha=-1)
        if torch.equal(codes, before):
            break
    return quantized._replace(codes=(codes.T - grid.qmin).to(torch.uint8).contiguous())


def output_errors(weight: Tensor, rounded: Tensor, hessian: Tensor) -> Tensor:
    """What rounding does to each row's outputs: ``(w − ŵ) H (w − ŵ)ᵀ``, float64 ``(out,)``.

    Their sum is ``tr((W − Ŵ) H (W − Ŵ)ᵀ)``, twice the mean squared change of the layer's output vector. Computed in
    float32.
    """
    delta = weight.float() - rounded.float()
    return ((delta @ hessian.float()) * delta).sum(dim=1, dtype=torch.float64)


def check_hessian(weight: Tensor, hessian: Tensor) -> None:
    """Raise QVecError unless a finite ``(in, in)`` Hessian belongs to the inputs of an ``(out, in)`` weight."""
    if weight.ndim != 2:
        raise QVecError(f"weight: expected a matrix (out, in), found shape {tuple(weight.shape)}")
    if tuple(hessian.shape) != (weight.shape[1], weight.shape[1]):
        raise QVecError(
            f"hessian: expected shape {(weight.shape[1], weight.shape[1])} for a weight of shape "
            f"{tuple(weight.shape)}, found {tuple(hessian.shape)}; collect it from this layer's inputs"
        )
    if not bool(torch.isfinite(hessian).all()) or bool((hessian.diagonal() < 0).any()):
        raise QVecError("hessian: expected sums of squares, found NaN, infinity or a negative number on its diagonal")


def _codes(weight: Tensor, factor: Tensor, scale: Tensor, shift: Tensor | None, grid: Grid) -> Tensor:
    """GPTQ's loop: float32 weights ``(in, out)``, spent as scratch -> codes qmin…qmax as float32.

    The matrices are transposed, so that the weights of a column lie side by side in memory.
    """
    codes = torch.empty_like(weight)
    for start in range(0, len(weight), BLOCK):
        stop = min(start + BLOCK, len(weight))
        errors = torch.empty_like(weight[start:stop])
        for column in range(start, stop):
            moved = None if shift is None else shift[column]
            levels = round_column(weight[column], scale[column], moved, grid, codes[column])
            error = errors[column - start]
            torch.sub(weight[column], values(levels, scale[column], moved), out=error).div_(factor[column, column])
            weight[column + 1 : stop].addr_(factor[column, column + 1 : stop], error, alpha=-1)
        weight[stop:].addmm_(factor[start:stop, stop:].T, errors, alpha=-1)
    return codes


def _by_column(quantized: Quantized, shape: torch.Size, grid: Grid) -> tuple[Tensor, Tensor | None]:
    """Every weight's scale and shift, ``(in, out)``."""
    scale, shift = (
        None if each is None else spread_units(each, shape, grid).T.contiguous()
        for each in (quantized.scale, quantized.shift)
    )
    assert scale is not None
    return scale, shift


def _inverse_factor(hessian: Tensor, damping: float) -> Tensor:
    """Upper triangular ``U`` with ``UᵀU = (H + damping)⁻¹``, the Cholesky factor that GPTQ's updates need.

    With the rows and columns of H in reverse order, ``L Lᵀ`` in reverse order is ``R Rᵀ`` with an upper triangular
    R, and ``U = R⁻¹``, which is ``L⁻¹`` in reverse order: one factorization, and no inverse of H that would have to be
    factorized again.
    """
    dead = hessian.diagonal() == 0
    mean = hessian.diagonal()[~dead].mean()
    reversed_ = hessian.flip(0, 1).div_(mean)  # the only copy: a wide layer's matrices are its memory's peak
    reversed_.diagonal()[dead.flip(0)] = 1.0
    added = 0.0
    for amount in (damping, *(max(damping, LEAST_DAMPING) * 10**attempt for attempt in range(1, ATTEMPTS))):
        reversed_.diagonal().add_(amount - added)
        added = amount
        lower, failed = torch.linalg.cholesky_ex(reversed_)
        if not bool(failed):
            identity = torch.eye(len(lower), dtype=lower.dtype, device=lower.device, out=reversed_)
            return torch.linalg.solve_triangular(lower, identity, upper=False).flip(0, 1)
    raise QVecError("hessian: expected a positive semi-definite matrix, found one that no damping makes definite")


def _check(weight: Tensor, hessian: Tensor, damping: float, order: str) -> None:
    check_hessian(weight, hessian)
    if not damping >= 0:
        raise QVecError(f"damping: expected a share of 0 or more, found {damping}")
    if order not in ORDERS:
        raise QVecError(f"order: expected one of {', '.join(map(repr, ORDERS))}, found {order!r}")
