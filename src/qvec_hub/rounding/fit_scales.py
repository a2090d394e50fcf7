"""Rounding codes and scales together, by what they do to a layer's outputs.

GPTQ chooses codes for given scales. For given codes, the scales (and shifts) with the least output error are a
least-squares fit. Here the two take turns. All functions are pure and know nothing of models.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..grid.code_levels import code_levels
from ..grid.grid import Grid
from ..grid.quantize import Quantized, dequantize
from ..grid.scale_rules.registry import MIN_SCALE
from .gptq import check_hessian, factorize, gptq, output_errors, polish

__all__ = ["fit", "refit_scales", "restored_target"]

DAMPING = 0.1  # of GPTQ, whose codes are otherwise made for the very images that are at hand
RIDGE = 0.01  # of the least-squares fits, as a share of the Hessian's mean diagonal
ROUNDS = 1
CLEARLY = 1e-4  # how much smaller an error must be to count: what is less depends on the last bits of the inputs
SWEEPS = 2
SPACE = 1 << 25  # numbers that the fit of a block of rows may take


def fit(weight: Tensor, hessian: Tensor, grid: Grid) -> Quantized:
    """Codes and scales of a weight ``(out, in)`` with a small output error ``(w − ŵ) H (w − ŵ)ᵀ``.

    From GPTQ on the grid's own scales, scales are fitted to the codes and codes found for the scales, `ROUNDS` times.
    What is better is kept, row by row (with one scale a tensor, or on a trellis: altogether), so no row ends with a
    larger output error than GPTQ's codes after `polish`.

    Args:
        hessian: see `gptq`.

    Raises:
        GridError, QVecError: as `gptq`.
    """
    check_hessian(weight, hessian)
    factored = factorize(hessian, DAMPING) if bool(hessian.diagonal().any()) else None
    best = polish(weight, hessian, gptq(weight, hessian, grid, damping=DAMPING, factored=factored), grid, sweeps=SWEEPS)
    error = _errors(weight, best, hessian, grid)
    for _ in range(ROUNDS):
        scaled = refit_scales(weight, hessian, best, grid)
        again = gptq(weight, hessian, grid, damping=DAMPING, start=scaled, factored=factored)
        for candidate in (scaled, again, polish(weight, hessian, again, grid, sweeps=SWEEPS)):
            found = _errors(weight, candidate, hessian, grid)
            better = found < error * (1 - CLEARLY)
            error = torch.where(better, found, error)
            best = _where(better.unsqueeze(1), candidate, best)
    return best


def refit_scales(weight: Tensor, hessian: Tensor, quantized: Quantized, grid: Grid) -> Quantized:
    """The same codes with the scales (and shifts) that change the layer's outputs least.

    In a row, ``ŵ = Σ_g s_g q_g − h_g 1_g`` over its units g is linear in its scales and shifts: they solve the normal
    equations ``⟨a, b⟩ = a H bᵀ`` of the vectors ``q_g`` and ``−1_g``, with `RIDGE` added to H's diagonal. A row keeps
    its scales where the fit gives one that is not positive.
    """
    check_hessian(weight, hessian)
    ridge = hessian.double().clone()
    ridge.diagonal().add_(RIDGE * ridge.diagonal().mean())
    out, units = weight.shape[0], quantized.scale.shape[1]
    shared = grid.granularity == "tensor"
    unknowns = units * (1 if quantized.shift is None else 2)
    rows = max(1, SPACE // (unknowns * weight.shape[1]))
    products, sides = [], []
    levels = code_levels(quantized.codes, grid)
    for start in range(0, out, rows):
        part = slice(start, start + rows)
        basis = _basis(levels[part], grid, units)  # (rows, unknowns, in)
        weighted = basis @ ridge
        products.append(weighted @ basis.transpose(1, 2))
        sides.append((weighted @ weight[part].double().unsqueeze(2)).squeeze(2))
    matrix, side = torch.cat(products), torch.cat(sides)
    if shared:
        matrix, side = matrix.sum(0, keepdim=True), side.sum(0, keepdim=True)
    matrix = matrix + torch.diag_embed(1e-9 * matrix.diagonal(dim1=1, dim2=2).clamp_min(MIN_SCALE))
    found, failed = torch.linalg.solve_ex(matrix, side)
    found = found.float().contiguous()  # LAPACK's columns, which what is saved must not be stored by
    fine = (failed == 0) & torch.isfinite(found).all(1) & (found[:, :units] >= MIN_SCALE).all(1)
    scale = torch.where(fine.unsqueeze(1), found[:, :units], quantized.scale)
    if quantized.shift is None:
        return quantized._replace(scale=scale)
    return quantized._replace(scale=scale, shift=torch.where(fine.unsqueeze(1), found[:, units:], quantized.shift))


def restored_target(weight: Tensor, hessian: Tensor, missing: Tensor, share: float) -> Tensor:
    """A weight that makes good, on its own inputs, a share of what quantizing the layers before it has changed.

    ``W + share · M (H + ridge)⁻¹`` where ``M = 2/N Σ m x̂ᵀ`` and m is what the layer's output lacks on an input x̂ of
    the quantized model: with a share of 1 the least-squares fit of ``W x̂ + m`` from x̂.

    Args:
        weight: ``(out, in)``. hessian: ``2/N Σ x̂ x̂ᵀ``, ``(in, in)``. missing: M, ``(out, in)``.
    """
    ridge = hessian.clone()
    ridge.diagonal().add_(RIDGE * ridge.diagonal().mean().clamp_min(MIN_SCALE))
    lower, failed = torch.linalg.cholesky_ex(ridge)
    if bool(failed):
        return weight
    return (weight.double() + share * torch.cholesky_solve(missing.T, lower).T).to(weight.dtype)


def _basis(levels: Tensor, grid: Grid, units: int) -> Tensor:
    """What a row's weights are combined of: its levels unit by unit, and on an affine grid −1 unit by unit."""
    values = levels.double()  # (rows, in)
    if units == 1:
        members = torch.ones(1, values.shape[1], dtype=values.dtype, device=values.device)
    else:
        unit = torch.arange(values.shape[1], device=values.device) // (grid.group_size or values.shape[1])
        members = (unit == torch.arange(units, device=values.device).unsqueeze(1)).to(values.dtype)
    basis = values.unsqueeze(1) * members  # (rows, units, in)
    return basis if grid.symmetric else torch.cat([basis, -members.expand_as(basis)], dim=1)


def _errors(weight: Tensor, quantized: Quantized, hessian: Tensor, grid: Grid) -> Tensor:
    """Output errors that decide row by row; where rows share a scale or a trellis, all rows have their mean."""
    errors = output_errors(weight, dequantize(*quantized, grid), hessian)
    return errors if grid.codes_are_independent else errors.mean().expand_as(errors)


def _where(mask: Tensor, first: Quantized, second: Quantized) -> Quantized:
    def chosen(one: Tensor, other: Tensor) -> Tensor:
        return torch.where(mask[: len(one)], one, other)

    shift = None if first.shift is None or second.shift is None else chosen(first.shift, second.shift)
    return Quantized(chosen(first.codes, second.codes), chosen(first.scale, second.scale), shift)
