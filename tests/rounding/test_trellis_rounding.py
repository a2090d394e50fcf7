"""Error compensation on a trellis: what is promised of every grid, and least squares by numpy."""

import numpy as np
import pytest
import torch

from qvec_hub import Grid
from qvec_hub.grid.code_levels import code_levels
from qvec_hub.grid.quantize import dequantize, quantize
from qvec_hub.rounding.fit_scales import RIDGE, fit, refit_scales
from qvec_hub.rounding.gptq import gptq, output_errors, polish

GRIDS = [Grid(2, range="trellis"), Grid(3, range="trellis"), Grid(1.6, "group", "trellis", group_size=16)]

every_grid = pytest.mark.parametrize("grid", GRIDS, ids=str)


@pytest.fixture(scope="module")
def layer() -> tuple[torch.Tensor, torch.Tensor]:
    """A weight ``(24, 40)``, and a Hessian of inputs that go together."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 12, generator=generator) @ torch.randn(12, 40, generator=generator)
    inputs += 0.3 * torch.randn(400, 40, generator=generator)
    return torch.randn(24, 40, generator=generator), (2 / 400 * inputs.T @ inputs).double()


def loss(weight: torch.Tensor, found, hessian: torch.Tensor, grid: Grid) -> float:
    return float(output_errors(weight, dequantize(*found, grid), hessian).sum())


@every_grid
def test_each_step_lowers_the_output_error(layer, grid: Grid) -> None:
    weight, hessian = layer
    nearest = quantize(weight, grid)
    compensated = gptq(weight, hessian, grid)
    polished = polish(weight, hessian, compensated, grid)
    fitted = fit(weight, hessian, grid)
    losses = [loss(weight, each, hessian, grid) for each in (nearest, compensated, polished, fitted)]
    assert losses[1] < 0.8 * losses[0]
    assert losses[2] <= losses[1] * 1.001  # it minimizes the damped error
    assert losses[3] <= losses[2]
    assert torch.equal(compensated.scale, nearest.scale)


def test_where_compensation_does_not_help_all_rows_stay() -> None:
    """Rows cannot be taken from two roundings: a code's level depends on the rows above."""
    grid, weight = GRIDS[0], torch.randn(16, 8, generator=torch.Generator().manual_seed(3))
    found = gptq(weight, torch.eye(8), grid)
    assert loss(weight, found, torch.eye(8), grid) <= loss(weight, quantize(weight, grid), torch.eye(8), grid)


def test_scales_are_the_least_squares_fit(layer) -> None:
    weight, hessian = layer
    grid = GRIDS[0]
    start = quantize(weight, grid)
    fitted = refit_scales(weight, hessian, start, grid)
    assert torch.equal(fitted.codes, start.codes)
    ridge = hessian.numpy() + RIDGE * hessian.diagonal().mean().item() * np.eye(40)
    root = np.linalg.cholesky(ridge).T
    levels = code_levels(start.codes, grid).double().numpy()
    for row in range(24):
        wanted, *_ = np.linalg.lstsq((root @ levels[row])[:, None], root @ weight[row].double().numpy(), rcond=None)
        assert float(fitted.scale[row]) == pytest.approx(float(wanted[0]), rel=1e-4)
