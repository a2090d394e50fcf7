"""Grids against the published formula, brute force, and optimum-quanto's optimizers."""

import itertools

import pytest
import torch
from optimum.quanto import HqqOptimizer, MaxOptimizer, qint4
from optimum.quanto.tensor.optimizers.hqq_optimizer import shrink_lp_op

from qvec_hub import Grid, GridError, fake_quantize
from qvec_hub.grid.quantize import dequantize, quantize


def published(weight: torch.Tensor, bits: int, per_row: bool = True) -> torch.Tensor:
    """Fake quantization as arXiv 2604.03420 defines it, written a second time."""
    qmax, qmin = 2 ** (bits - 1) - 1, -(2 ** (bits - 1))
    top = weight.abs().amax(dim=1, keepdim=True) if per_row else weight.abs().max()
    scale = torch.clamp(top, min=1e-8) / qmax
    return torch.clamp(torch.round(weight / scale), qmin, qmax) * scale


def adversarial() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    outlier = torch.randn(4, 33)
    outlier[1, 7] = 1e6
    return {
        "normal": torch.randn(17, 29),
        "heavy tails": torch.randn(9, 40) ** 5,
        "zeros": torch.zeros(3, 8),
        "one zero row": torch.cat([torch.zeros(1, 12), torch.randn(3, 12)]),
        "outlier": outlier,
        "denormals": torch.full((2, 5), 1e-42) * torch.tensor([1.0, -2.0, 3.0, 0.0, 5.0]),
        "halves": torch.tensor([[3.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]]),
        "negative extreme": torch.tensor([[-4.0, 1.0, 2.0]]),
        "huge": torch.randn(3, 7) * 1e37,
        "one column": torch.randn(6, 1),
    }


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("name", adversarial())
def test_absmax_is_the_published_formula_to_the_last_bit(name: str, bits: int) -> None:
    weight = adversarial()[name]
    assert torch.equal(fake_quantize(weight, Grid(bits)), published(weight, bits))
    assert torch.equal(fake_quantize(weight, Grid(bits, "tensor")), published(weight, bits, per_row=False))


def test_half_precision_is_rounded_in_float32_and_cast_once() -> None:
    weight = torch.randn(8, 64).bfloat16()
    result = fake_quantize(weight, Grid(3))
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, published(weight.float(), 3).bfloat16())


GRIDS = [
    "int2", "int3-tensor", "int4-group16", "int3-group7-mse", "int2-channel-mse", "int2-tensor-mse",
    "int3-channel-mse-affine", "int4-group10-absmax-affine", "int4-channel-hqq-affine",
    "int2-group32-hqq-affine", "int8-channel-mse",
]  # fmt: skip


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("shape", [(5, 30), (1, 1), (3, 0), (0, 4), (4, 7), (2, 3, 2, 2)])
def test_codes_stand_for_the_fake_quantized_values(name: str, shape: tuple[int, ...]) -> None:
    grid, weight = Grid.parse(name), torch.randn(shape)
    codes, scale, shift = quantize(weight, grid)
    assert codes.shape == weight.shape
    assert codes.dtype == torch.uint8
    assert codes.numel() == 0 or int(codes.max()) < 2**grid.bits
    assert (shift is None) == grid.symmetric
    assert torch.equal(dequantize(codes, scale, shift, grid), fake_quantize(weight, grid))


@pytest.mark.parametrize("name", GRIDS)
def test_grid_names_read_back(name: str) -> None:
    grid = Grid.parse(name)
    assert Grid.parse(grid.name) == grid
    assert Grid.from_dict(grid.to_dict()) == grid


def test_groups_are_rows_of_their_own() -> None:
    weight = torch.randn(6, 20)
    grouped = fake_quantize(weight, Grid(3, "group", group_size=8))
    by_hand = torch.cat([published(part, 3) for part in weight.split(8, dim=1)], dim=1)
    assert torch.equal(grouped, by_hand)


@pytest.mark.parametrize(
    "name", ["int2-channel-mse", "int3-channel-mse", "int4-group16-mse", "int3-channel-mse-affine"]
)
@pytest.mark.parametrize("case", adversarial())
def test_mse_is_never_worse_than_absmax_in_any_unit(name: str, case: str) -> None:
    grid, weight = Grid.parse(name), adversarial()[case].clamp(-1e15, 1e15)  # squares must stay finite
    plain = Grid(grid.bits, grid.granularity, "absmax", grid.symmetric, grid.group_size)
    width = grid.group_size or weight.shape[1]

    def errors(chosen: Grid) -> torch.Tensor:
        squares = (fake_quantize(weight, chosen) - weight).double().square()
        return torch.stack([part.sum(1) for part in squares.split(width, dim=1)])

    assert bool((errors(grid) <= errors(plain) * (1 + 1e-5)).all())


@pytest.mark.parametrize("bits", [2, 3])
def test_mse_comes_close_to_brute_force(bits: int) -> None:
    torch.manual_seed(bits)
    weight = torch.randn(24, 48)
    grid = Grid(bits, range="mse")
    steps = torch.linspace(0.05, 1.05, 2001) / grid.qmax
    found = (fake_quantize(weight, grid) - weight).square().sum(1)
    for row, error in zip(weight, found, strict=True):
        scales = (row.abs().max() * steps).unsqueeze(1)
        values = torch.clamp(torch.round(row / scales), grid.qmin, grid.qmax) * scales
        assert float(error) <= 1.05 * float((values - row).square().sum(1).min())


def quantos_hqq(weight: torch.Tensor) -> torch.Tensor:
    """The shift HqqOptimizer finds, from quanto's own operators; its class itself needs a C++ compiler on a CPU."""
    scale, shift = MaxOptimizer()(weight, qint4, axis=0)
    settings = HqqOptimizer()

    def codes_and_error(shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        codes = torch.ops.quanto.quantize_affine(weight, 4, 0, None, scale, shift)
        return codes, weight - (codes * scale - shift)

    codes, error = codes_and_error(shift)
    best, beta = float(error.abs().mean()), settings.beta
    for _ in range(settings.iters):
        target = weight - shrink_lp_op(error, beta, settings.lp_norm)
        candidate = (codes * scale - target).mean(dim=-1, keepdim=True)
        codes, error = codes_and_error(candidate)
        if not float(error.abs().mean()) < best:
            break
        best, shift, beta = float(error.abs().mean()), candidate, beta * settings.kappa
    return shift


@pytest.mark.parametrize("seed", range(5))
def test_affine_absmax_and_hqq_are_quantos(seed: int) -> None:
    weight = torch.randn(12, 128, generator=torch.Generator().manual_seed(seed))
    scale, shift = MaxOptimizer()(weight, qint4, axis=0)
    ours = quantize(weight, Grid(4, symmetric=False))
    assert torch.allclose(ours.scale, scale)
    assert torch.allclose(ours.shift, shift)
    ours = quantize(weight, Grid(4, range="hqq", symmetric=False))
    assert torch.allclose(ours.scale, scale)
    assert torch.allclose(ours.shift, quantos_hqq(weight), atol=1e-6)
    assert not torch.allclose(ours.shift, shift, atol=1e-6)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_refused(poison: float) -> None:
    weight = torch.randn(4, 4)
    weight[2, 1] = poison
    for name in GRIDS:
        with pytest.raises(GridError, match="NaN or infinity"):
            quantize(weight, Grid.parse(name))


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"bits": 1}, "bits"),
        ({"bits": 9}, "bits"),
        ({"bits": True}, "bits"),
        ({"bits": "3"}, "bits"),
        ({"granularity": "row"}, "granularity"),
        ({"range": "max"}, "absmax"),
        ({"granularity": "group"}, "group_size"),
        ({"granularity": "group", "group_size": 0}, "group_size"),
        ({"group_size": 64}, "group_size"),
        ({"range": "hqq"}, "symmetric=False"),
        ({"symmetric": 1}, "symmetric"),
    ],
)
def test_grids_that_do_not_exist_are_named(arguments: dict, names: str) -> None:
    with pytest.raises(GridError, match=names):
        Grid(**arguments)


@pytest.mark.parametrize(
    "spec", ["int", "3", "int33", "fp8", "int3-row", "int3-channel-best", "", None, 3, {"bitz": 3}]
)
def test_specs_that_name_no_grid(spec: object) -> None:
    with pytest.raises(GridError):
        Grid.parse(spec)  # type: ignore[arg-type]


def test_every_combination_either_works_or_says_why() -> None:
    weight = torch.randn(3, 10)
    for bits, granularity, rule, symmetric, size in itertools.product(
        (2, 5, 8), ("tensor", "channel", "group"), ("absmax", "mse", "hqq"), (True, False), (None, 4)
    ):
        if (granularity == "group") != (size is not None) or (rule == "hqq" and symmetric):
            with pytest.raises(GridError, match=r"^grid:"):
                Grid(bits, granularity, rule, symmetric, size)
        else:
            grid = Grid(bits, granularity, rule, symmetric, size)
            assert fake_quantize(weight, grid).shape == weight.shape
