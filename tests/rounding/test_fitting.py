"""Codes and scales fitted together, against least squares by numpy and against trying everything."""

import numpy as np
import pytest
import torch

from qvec_hub import Grid
from qvec_hub.errors import QVecError
from qvec_hub.grid.quantize import dequantize, quantize
from qvec_hub.rounding.fit_scales import RIDGE, SWEEPS, fit, refit_scales, restored_target
from qvec_hub.rounding.gptq import POLISH_DAMPING, gptq, output_errors, polish

GRIDS = [
    "int2",
    "int3-channel-mse",
    "int2-channel-mse-affine",
    "int2-group8-absmax",
    "int3-group10-mse-affine",
    "int2-tensor-absmax",
    "int3-tensor-mse-affine",
]


def layer(seed: int = 0, out: int = 7, features: int = 24) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A weight, inputs whose features depend on each other, and their Hessian."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(300, features, generator=generator, dtype=torch.float64)
    inputs = inputs @ torch.randn(features, features, generator=generator, dtype=torch.float64) + 0.5
    return torch.randn(out, features, generator=generator), inputs, 2 / 300 * inputs.T @ inputs


def augmented(inputs: torch.Tensor, hessian: torch.Tensor) -> np.ndarray:
    """Rows that make plain least squares the ridge regression of `fitting`, where H is 2/N XᵀX."""
    ridge = RIDGE * float(hessian.diagonal().mean())
    return np.concatenate([inputs.numpy() * np.sqrt(2 / len(inputs)), np.sqrt(ridge) * np.eye(inputs.shape[1])])


@pytest.mark.parametrize("name", GRIDS)
def test_scales_are_the_least_squares_fit_of_the_outputs(name: str) -> None:
    grid = Grid.parse(name)
    weight, inputs, hessian = layer()
    start = gptq(weight, hessian, grid)
    found = refit_scales(weight, hessian, start, grid)
    assert torch.equal(found.codes, start.codes)
    rows = augmented(inputs, hessian)
    values = (start.codes.double() + grid.qmin).numpy()
    size = grid.group_size or 24
    units = [slice(at, at + size) for at in range(0, 24, size)]
    outs = [range(7)] if grid.granularity == "tensor" else [[row] for row in range(7)]
    for number, members in enumerate(outs):
        columns = []
        for sign, what in ((1, values), (-1, np.ones_like(values))):
            for unit in units:
                masked = np.zeros_like(values)
                masked[:, unit] = what[:, unit]
                columns.append(np.concatenate([rows @ (sign * masked[row]) for row in members]))
            if grid.symmetric:
                break
        target = np.concatenate([rows @ weight[row].double().numpy() for row in members])
        expected = np.linalg.lstsq(np.stack(columns, axis=1), target, rcond=None)[0]
        assert np.allclose(found.scale[number].numpy(), expected[: len(units)], rtol=1e-3, atol=1e-5)
        if found.shift is not None:
            assert np.allclose(found.shift[number].numpy(), expected[len(units) :], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("seed", range(3))
def test_no_row_ends_worse_than_by_gptq_or_nearest(name: str, seed: int) -> None:
    grid = Grid.parse(name)
    weight, _, hessian = layer(seed)
    errors = [
        output_errors(weight, dequantize(*quantized, grid), hessian)
        for quantized in (
            fit(weight, hessian, grid),
            polish(weight, hessian, gptq(weight, hessian, grid, damping=0.1), grid, sweeps=SWEEPS),
            gptq(weight, hessian, grid, damping=0.1),
            quantize(weight, grid),
        )
    ]
    if grid.granularity == "tensor":
        errors = [error.sum() for error in errors]
    for other in errors[1:]:
        assert bool((errors[0] <= other * (1 + 1e-9)).all())
    assert float(errors[0].sum()) < 0.8 * float(errors[-1].sum())


@pytest.mark.parametrize("name", GRIDS)
def test_after_polishing_no_single_code_can_be_better(name: str) -> None:
    grid = Grid.parse(name)
    weight, _, hessian = layer(4, out=3, features=12)
    damped = hessian.clone()
    damped.diagonal().add_(POLISH_DAMPING * damped.diagonal().mean())
    start = quantize(weight, grid)
    found = polish(weight, hessian, start, grid, sweeps=100)
    best = output_errors(weight, dequantize(*found, grid), damped)
    assert bool((best <= output_errors(weight, dequantize(*start, grid), damped) + 1e-9).all())
    for column in range(12):
        for code in range(2**grid.bits):
            other = found.codes.clone()
            other[:, column] = code
            value = dequantize(other, found.scale, found.shift, grid)
            assert bool((output_errors(weight, value, damped) >= best - 1e-6).all())


def test_a_wide_weight_is_polished_block_by_block() -> None:
    """Columns beyond the first block hear of what changed in it: still a local optimum."""
    grid = Grid(2)
    weight, _, hessian = layer(5, out=4, features=150)
    found = polish(weight, hessian, quantize(weight, grid), grid, sweeps=50)
    again = polish(weight, hessian, found, grid, sweeps=1)
    assert torch.equal(found.codes, again.codes)


def test_the_target_is_the_least_squares_fit_of_what_was_lost() -> None:
    weight, inputs, hessian = layer(6)
    lacking = torch.randn(300, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    missing = 2 / 300 * lacking.T @ inputs
    rows = augmented(inputs, hessian)
    padded = np.concatenate([lacking.numpy() * np.sqrt(2 / 300), np.zeros((24, 7))])
    expected = weight.double().numpy() + np.linalg.lstsq(rows, padded, rcond=None)[0].T
    assert np.allclose(restored_target(weight, hessian, missing, 1.0), expected, atol=1e-4)
    half = restored_target(weight, hessian, missing, 0.5)
    assert np.allclose(half, (weight.double().numpy() + expected) / 2, atol=1e-4)


def test_inputs_that_say_nothing_leave_plain_rounding() -> None:
    weight, nothing = layer()[0], torch.zeros(24, 24, dtype=torch.float64)
    grid = Grid.parse("int2-channel-mse-affine")
    for found, expected in zip(fit(weight, nothing, grid), quantize(weight, grid), strict=True):
        assert torch.equal(found, expected)
    assert torch.equal(restored_target(weight, nothing, torch.zeros(7, 24, dtype=torch.float64), 0.5), weight)


def test_a_hessian_of_another_layer() -> None:
    weight, _, hessian = layer()
    start = quantize(weight, Grid(2))
    with pytest.raises(QVecError, match="hessian"):
        refit_scales(weight, hessian[:3, :3], start, Grid(2))
    with pytest.raises(QVecError, match="hessian"):
        polish(weight, hessian * float("nan"), start, Grid(2))
