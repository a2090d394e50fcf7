"""AWQ: weights that meet large inputs are scaled up before rounding, and down again after it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...errors import QVecError
from ...grid.grid import Grid
from ...grid.quantize import fake_quantize, quantize, spread_units
from ...rounding.gptq import check_hessian, output_errors
from ...rounding.moments import Moments
from .registry import baseline

__all__ = ["awq", "awq_by_moments"]

STEPS = 20  # of the exponent's search, from 0 to 1
CLIP_STEPS, CLIP_LEAST = 10, 0.5  # of the clipping's search, from 1 down to this share of the largest magnitude


def awq(weight: Tensor, hessian: Tensor, magnitude: Tensor, grid: Grid) -> Tensor:
    """``Q(W·diag(s))·diag(1/s)`` in float32, with the input scales `s` that change the layer's outputs least.

    AWQ (Lin et al., 2024, arXiv 2306.00978): ``s = magnitude**α``, normalized by the geometric mean of its extremes,
    with the best α of 0, 0.05, …, 1 by ``tr((W − Ŵ) H (W − Ŵ)ᵀ)``. Then the paper's clipping: the scaled weights
    are clamped to a share 1, 0.95, …, 0.5 of their unit's largest magnitude before they are rounded; the best share
    is chosen row by row, or for the whole matrix where it has one scale. α = 0 without clipping is plain rounding
    to nearest, so the layer's error is never above that. The result lies on the grid up to `s`, which a deployment
    would fold into the preceding layer: here every layer has its own, also where several share one input.

    Args:
        weight: ``(out, in)``.
        hessian: ``(in, in)``, as for `gptq`.
        magnitude: ``(in,)``, the mean magnitude of each input.

    Raises:
        GridError: when the weight holds NaN or infinity.
        QVecError: when hessian or magnitude are not of this weight.
    """
    check_hessian(weight, hessian)
    if tuple(magnitude.shape) != (weight.shape[1],) or not bool((magnitude >= 0).all()):
        raise QVecError(
            f"magnitude: expected {weight.shape[1]} numbers of 0 or more, found shape {tuple(magnitude.shape)}; "
            "pass the mean magnitude of each of this layer's inputs"
        )
    weight = weight.float()
    scales = [_input_scale(magnitude.float(), step / STEPS) for step in range(STEPS + 1)]
    losses = [
        float(output_errors(weight, fake_quantize(weight * scale, grid) / scale, hessian).sum()) for scale in scales
    ]
    return _clipped(weight, scales[losses.index(min(losses))], hessian, grid)


def _input_scale(magnitude: Tensor, exponent: float) -> Tensor:
    scale = magnitude.pow(exponent).clamp(min=1e-4)  # the authors' lower clamp
    return scale / (scale.max() * scale.min()).sqrt()


def _clipped(weight: Tensor, scale: Tensor, hessian: Tensor, grid: Grid) -> Tensor:
    """The best of several clamped versions of the scaled weight, rounded: a choice for every row."""
    scaled = weight * scale
    magnitudes = replace(grid, range="absmax", symmetric=True)
    top = spread_units(quantize(scaled, magnitudes).scale, weight.shape, grid) * magnitudes.qmax
    best = fake_quantize(scaled, grid) / scale
    least = _errors(weight, best, hessian, grid)
    for step in range(1, CLIP_STEPS + 1):
        share = 1.0 - (1.0 - CLIP_LEAST) * step / CLIP_STEPS
        rounded = fake_quantize(torch.clamp(scaled, -share * top, share * top), grid) / scale
        errors = _errors(weight, rounded, hessian, grid)
        better = errors < least
        best, least = torch.where(better, rounded, best), torch.where(better, errors, least)
    return best


def _errors(weight: Tensor, rounded: Tensor, hessian: Tensor, grid: Grid) -> Tensor:
    """Output errors of what can be chosen by itself: ``(out, 1)``, or ``(1, 1)`` where the rows share a scale."""
    errors = output_errors(weight, rounded, hessian).unsqueeze(1)
    return errors.sum(dim=0, keepdim=True) if grid.granularity == "tensor" else errors


@baseline("awq", "inputs' scales searched before rounding (arXiv 2306.00978)", label="AWQ")
def awq_by_moments(weight: Tensor, moments: Moments, grid: Grid) -> Tensor:
    return awq(weight, moments.hessian(), moments.magnitude(), grid)
