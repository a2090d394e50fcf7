"""GPTQ and AWQ against their definitions: a textbook version without blocks or factors, brute force, real outputs."""

import itertools

import pytest
import torch

from qvec_hub import Grid, GridError, QVecError, fake_quantize
from qvec_hub.bench.baselines.awq import awq
from qvec_hub.grid.quantize import dequantize, quantize
from qvec_hub.rounding.gptq import gptq, output_errors

GRIDS = [
    "int2", "int3-channel-mse", "int2-tensor-mse", "int3-group16", "int2-group7-mse-affine",
    "int3-channel-absmax-affine", "int4-group32-hqq-affine", "int8-tensor",
]  # fmt: skip


def problem(out: int, size: int, seed: int = 0, samples: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight, and inputs as a network has them: correlated, of very different sizes."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=generator) * torch.rand(size, generator=generator).pow(3)
    inputs = torch.randn(samples, size, generator=generator) @ mixing.T
    return torch.randn(out, size, generator=generator), inputs.double()


def hessian_of(inputs: torch.Tensor) -> torch.Tensor:
    return 2 * inputs.T @ inputs / len(inputs)


def values(weight: torch.Tensor, hessian: torch.Tensor, grid: Grid, **how: object) -> torch.Tensor:
    return dequantize(*gptq(weight, hessian, grid, **how), grid)


def row_errors(delta: torch.Tensor, hessian: torch.Tensor) -> torch.Tensor:
    return torch.stack([row @ hessian @ row for row in delta.double()])


def textbook(
    weight: torch.Tensor, hessian: torch.Tensor, grid: Grid, damping: float, order: list[int], keep_better: bool = True
) -> torch.Tensor:
    """Optimal brain surgery, one column after the other: round it, spread its error, take it out of the inverse."""
    shape, (_, scale, shift) = weight.shape, quantize(weight, grid)
    index = torch.arange(shape[1]) // (grid.group_size or shape[1])
    scale = scale.double()[:, index].expand(shape)
    shift = torch.zeros(shape) if shift is None else shift.double()[:, index].expand(shape)
    inverse = torch.linalg.inv(hessian + damping * hessian.diagonal().mean() * torch.eye(shape[1]))
    rest, done = weight.double().clone(), torch.zeros(shape, dtype=torch.float64)
    for column in order:
        codes = ((rest[:, column] + shift[:, column]) / scale[:, column]).round().clamp(grid.qmin, grid.qmax)
        done[:, column] = codes * scale[:, column] - shift[:, column]
        error = (rest[:, column] - done[:, column]) / inverse[column, column]
        rest -= torch.outer(error, inverse[column])
        inverse = inverse - torch.outer(inverse[:, column], inverse[column]) / inverse[column, column]
    if not keep_better:
        return done
    nearest = fake_quantize(weight, grid).double()
    better = row_errors(weight - done, hessian) < row_errors(weight - nearest, hessian)
    return torch.where(better.unsqueeze(1), done, nearest)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("order", ["activation", "natural"])
def test_gptq_is_the_textbooks(name: str, order: str) -> None:
    grid, (weight, inputs) = Grid.parse(name), problem(9, 150)  # more columns than one block
    hessian = hessian_of(inputs)
    columns = hessian.diagonal().argsort(descending=True).tolist() if order == "activation" else list(range(150))
    expected = textbook(weight, hessian, grid, 0.01, columns)
    found = values(weight, hessian, grid, damping=0.01, order=order)
    assert torch.allclose(found.double(), expected, rtol=1e-5, atol=1e-6)
    assert not torch.equal(found, fake_quantize(weight, grid))


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("shape", [(5, 30), (1, 1), (3, 0), (6, 140)])
@pytest.mark.parametrize("order", ["activation", "natural"])
def test_inputs_that_tell_nothing_apart_give_plain_rounding(name: str, shape: tuple[int, int], order: str) -> None:
    grid, weight = Grid.parse(name), torch.randn(shape, generator=torch.Generator().manual_seed(1))
    nearest = quantize(weight, grid)
    for hessian in (torch.eye(shape[1]), torch.diag(torch.rand(shape[1]) + 0.1), torch.zeros(shape[1], shape[1])):
        found = gptq(weight, hessian, grid, order=order)
        assert torch.equal(found.codes, nearest.codes)
        assert torch.equal(found.scale, nearest.scale)
        assert (found.shift is None) == (nearest.shift is None)


def test_halves_are_rounded_as_plain_rounding_rounds_them() -> None:
    weight = torch.tensor([[3.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]]) * 0.1
    assert torch.equal(gptq(weight, torch.eye(7), Grid(3)).codes, quantize(weight, Grid(3)).codes)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("seed", range(4))
def test_no_row_ends_with_larger_output_errors_than_plain_rounding(name: str, seed: int) -> None:
    grid, (weight, inputs) = Grid.parse(name), problem(12, 40, seed)
    found, nearest = values(weight, hessian_of(inputs), grid), fake_quantize(weight, grid)
    errors = [(inputs @ (weight - rounded).double().T).square().mean(dim=0) for rounded in (found, nearest)]
    assert bool((errors[0] <= errors[1] * (1 + 1e-9)).all())
    assert float(errors[0].sum()) < 0.8 * float(errors[1].sum())


def test_a_row_that_gptq_would_harm_is_rounded_to_nearest() -> None:
    grid, (weight, inputs) = Grid(2, "group", "mse", symmetric=False, group_size=7), problem(200, 14, samples=50)
    hessian = hessian_of(inputs)
    alone = textbook(weight, hessian, grid, 0.01, list(range(14)), keep_better=False)
    nearest, found = fake_quantize(weight, grid), values(weight, hessian, grid, order="natural")
    harmed = row_errors(weight - alone, hessian) > row_errors(weight - nearest, hessian)
    assert 5 < int(harmed.sum()) < 100
    assert torch.equal(found[harmed], nearest[harmed])
    assert torch.allclose(found[~harmed].double(), alone[~harmed], rtol=1e-5, atol=1e-6)


def test_gptq_lies_between_plain_rounding_and_the_best_of_all_codes() -> None:
    grid, (weight, inputs) = Grid(2), problem(40, 4, samples=50)
    hessian, scale = hessian_of(inputs), quantize(weight, grid).scale
    codes = torch.tensor(list(itertools.product((-2.0, -1.0, 0.0, 1.0), repeat=4)))
    best = torch.stack([row_errors(row - codes * step, hessian).min() for row, step in zip(weight, scale, strict=True)])
    found, nearest = (
        row_errors(weight - each, hessian) for each in (values(weight, hessian, grid), fake_quantize(weight, grid))
    )
    assert bool((best <= found * (1 + 1e-6)).all())
    assert float((found - best).sum()) < 0.5 * float((nearest - best).sum())


def test_output_errors_are_those_of_the_outputs() -> None:
    weight, inputs = problem(5, 20)
    rounded = fake_quantize(weight, Grid(2))
    outputs = inputs @ weight.double().T - inputs @ rounded.double().T
    assert torch.allclose(output_errors(weight, rounded, hessian_of(inputs)), 2 * outputs.square().mean(dim=0))


def test_inputs_that_were_never_seen_are_rounded_to_nearest_and_touch_nothing() -> None:
    grid, (weight, inputs) = Grid(3), problem(6, 24)
    dead = [0, 5, 23]
    live = [column for column in range(24) if column not in dead]
    inputs[:, dead] = 0.0
    weight[:, dead] *= 0.2  # too small to have a say in the scale
    found = gptq(weight, hessian_of(inputs), grid)
    assert torch.equal(found.codes[:, dead], quantize(weight, grid).codes[:, dead])
    without = gptq(weight[:, live], hessian_of(inputs[:, live]), grid)
    assert torch.equal(found.codes[:, live], without.codes)
    assert not torch.equal(without.codes, quantize(weight[:, live], grid).codes)


@pytest.mark.parametrize("damping", [0.0, 1e-12, 0.01])
def test_fewer_samples_than_inputs(damping: float) -> None:
    weight, inputs = problem(8, 60, samples=12)
    hessian = hessian_of(inputs)
    found = values(weight, hessian, Grid(2), damping=damping)
    nearest = fake_quantize(weight, Grid(2))
    assert float(output_errors(weight, found, hessian).sum()) < 0.5 * float(
        output_errors(weight, nearest, hessian).sum()
    )


@pytest.mark.parametrize("factor", [1e-30, 1e20])
def test_a_factor_of_the_hessian_does_not_matter(factor: float) -> None:
    weight, inputs = problem(8, 30)
    codes = gptq(weight, hessian_of(inputs), Grid(2)).codes
    assert torch.equal(gptq(weight, hessian_of(inputs) * factor, Grid(2)).codes, codes)


def test_half_precision_weights_are_computed_with_in_full() -> None:
    weight, inputs = problem(8, 30)
    half = weight.bfloat16()
    assert torch.equal(
        gptq(half, hessian_of(inputs), Grid(2)).codes, gptq(half.float(), hessian_of(inputs).float(), Grid(2)).codes
    )


def test_what_does_not_fit_is_named() -> None:
    weight, inputs = problem(4, 6)
    hessian, grid = hessian_of(inputs), Grid(2)
    poisoned = hessian.clone()
    poisoned[1, 2] = float("nan")
    for bad, words in (
        (lambda: gptq(weight, hessian[:5, :5], grid), "expected shape"),
        (lambda: gptq(weight.unsqueeze(0), hessian, grid), "matrix"),
        (lambda: gptq(weight, poisoned, grid), "NaN"),
        (lambda: gptq(weight, -hessian, grid), "negative"),
        (lambda: gptq(weight, hessian, grid, damping=-0.1), "damping"),
        (lambda: gptq(weight, hessian, grid, damping=float("nan")), "damping"),
        (lambda: gptq(weight, hessian, grid, order="random"), "order"),
        (lambda: gptq(weight, torch.eye(6) - 1e13 * (1 - torch.eye(6)), grid), "semi-definite"),
        (lambda: awq(weight, hessian, torch.ones(5), grid), "magnitude"),
        (lambda: awq(weight, hessian, -torch.ones(6), grid), "magnitude"),
        (lambda: awq(weight, hessian[:, :5], torch.ones(6), grid), "expected shape"),
    ):
        with pytest.raises(QVecError, match=words):
            bad()
    for method in (lambda w: gptq(w, hessian, grid), lambda w: awq(w, hessian, torch.ones(6), grid)):
        with pytest.raises(GridError, match="NaN or infinity"):
            method(weight * float("inf"))


def awq_by_hand(weight: torch.Tensor, inputs: torch.Tensor, bits: int) -> torch.Tensor:
    """AWQ on the absmax grid with a scale per row, from outputs instead of a Hessian, row by row."""

    def rounded(row: torch.Tensor) -> torch.Tensor:
        qmax = 2 ** (bits - 1) - 1
        step = row.abs().max() / qmax
        return (row / step).round().clamp(-qmax - 1, qmax) * step

    def loss(row: torch.Tensor, other: torch.Tensor) -> float:
        return float((inputs @ (row - other).double()).square().sum())

    importance = inputs.abs().mean(dim=0).float()
    trials = []
    for step in range(21):
        scale = importance ** (step / 20)
        scale = scale / (scale.max() * scale.min()) ** 0.5
        trials.append((sum(loss(row, rounded(row * scale) / scale) for row in weight), step, scale))
    scale = min(trials)[2]
    result = []
    for row in weight:
        grown, candidates = row * scale, []
        for share in torch.linspace(1, 0.5, 11):
            limit = share * grown.abs().max()
            candidates.append(rounded(grown.clamp(-limit, limit)) / scale)
        result.append(min(candidates, key=lambda candidate: loss(row, candidate)))
    return torch.stack(result)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_awq_is_the_papers(bits: int) -> None:
    weight, inputs = problem(6, 32, seed=bits)
    found = awq(weight, hessian_of(inputs), inputs.abs().mean(dim=0), Grid(bits))
    assert torch.allclose(found, awq_by_hand(weight, inputs, bits), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("seed", range(2))
def test_awq_never_makes_a_layer_worse_than_plain_rounding(name: str, seed: int) -> None:
    grid, (weight, inputs) = Grid.parse(name), problem(10, 40, seed)
    inputs[:, 3] *= 50  # the large input that AWQ is made for
    inputs[:, 7] = 0.0
    found = awq(weight, hessian_of(inputs), inputs.abs().mean(dim=0), grid)
    errors = [(inputs @ (weight - each).double().T).square().sum() for each in (found, fake_quantize(weight, grid))]
    assert float(errors[0]) < float(errors[1])


def test_awq_without_anything_to_gain_is_plain_rounding() -> None:
    weight = torch.randn(6, 20, generator=torch.Generator().manual_seed(0))
    assert torch.equal(awq(weight, torch.zeros(20, 20), torch.zeros(20), Grid(3)), fake_quantize(weight, Grid(3)))
