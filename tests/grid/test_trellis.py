"""Trellis codes, against every path there is, a loop that reads codes one by one, and the rate-distortion bound."""

import itertools
import json
from importlib import resources

import pytest
import torch

import qvec_hub as qv
from qvec_hub import Grid, GridError
from qvec_hub.grid.code_levels import code_levels
from qvec_hub.grid.quantize import dequantize, quantize
from qvec_hub.grid.trellis import FANS, best_paths, deviation, levels_of

TABLES = json.loads(resources.files("qvec_hub.grid.trellis").joinpath("tables.json").read_text())
LLOYD_MAX = {3: 0.1902, 4: 0.1175, 8: 0.03454}  # least squared error of fixed levels for a standard normal (Max, 1960)
BITS = {3: 1.6, 4: 2, 8: 3}

every_fan = pytest.mark.parametrize("fan", FANS)


def levels_one_by_one(codes: list[int], fan: int) -> list[int]:
    """Read a column's codes as the format says: shift each into the state, look the state up."""
    table, state, found = TABLES[str(fan)]["levels"], 0, []
    for code in codes:
        state = (state * fan + code) % len(table)
        found.append(table[state])
    return found


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@every_fan
def test_the_tables_are_bytes_whose_number_is_a_power_of_the_codes(fan: int) -> None:
    levels = TABLES[str(fan)]["levels"]
    assert all(isinstance(level, int) and -127 <= level <= 127 for level in levels)
    length = 1
    while fan**length < len(levels):
        length += 1
    assert fan**length == len(levels)


@every_fan
def test_codes_are_read_down_the_columns(fan: int) -> None:
    codes = torch.randint(0, fan, (23, 5), generator=torch.Generator().manual_seed(fan), dtype=torch.uint8)
    found = levels_of(codes, fan)
    assert found.dtype == torch.float32
    for column in range(5):
        assert found[:, column].tolist() == levels_one_by_one(codes[:, column].tolist(), fan)
    assert levels_of(codes[:1], fan).shape == (1, 5)
    assert levels_of(codes[:0], fan).shape == (0, 5)


@pytest.mark.parametrize(("fan", "rows"), [(3, 7), (4, 1), (4, 6), (8, 4)])
def test_no_path_is_better(fan: int, rows: int) -> None:
    wanted = normal(6, rows)
    scale = normal(6, rows, seed=1).abs() / deviation(fan) + 0.005
    codes, levels = best_paths(wanted, scale, fan)
    every = itertools.product(range(fan), repeat=rows)
    paths = torch.tensor([levels_one_by_one(list(each), fan) for each in every])
    errors = (wanted.unsqueeze(1) - scale.unsqueeze(1) * paths).square().sum(2)  # (columns, paths)
    reached = (wanted - scale * levels).square().sum(1)
    torch.testing.assert_close(reached, errors.amin(1))
    torch.testing.assert_close(levels, levels_of(codes.T.contiguous(), fan).T)


def test_threads_do_not_change_the_codes() -> None:
    wanted, scale, before = normal(9, 40), torch.full((9, 40), 1 / deviation(4)), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(best_paths(wanted, scale, 4)[0])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], each) for each in found[1:])


@every_fan
def test_normal_weights_lose_less_than_with_any_fixed_levels(fan: int) -> None:
    weight = normal(768, 64)
    error = float((weight - qv.fake_quantize(weight, Grid(BITS[fan], range="trellis"))).square().mean())
    assert fan**-2 < error < 0.75 * LLOYD_MAX[fan]


@every_fan
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
def test_rounding_and_reading_agree(fan: int, granularity: str) -> None:
    grid = Grid(BITS[fan], granularity, "trellis", group_size=16 if granularity == "group" else None)
    assert Grid.parse(grid.name) == grid
    weight = 0.05 * normal(24, 40)
    codes, scale, shift = quantize(weight, grid)
    assert codes.dtype == torch.uint8
    assert int(codes.max()) < fan
    assert shift is None
    values = dequantize(codes, scale, shift, grid)
    assert torch.equal(values, qv.fake_quantize(weight, grid))
    spread = scale.repeat_interleave(16, dim=1)[:, :40] if granularity == "group" else scale
    torch.testing.assert_close(values, code_levels(codes, grid) * spread)
    assert float((values - weight).square().mean()) < 0.3 * float(weight.square().mean())


@pytest.mark.parametrize(
    ("name", "size"),
    [("int2-channel-trellis", 176), ("ternary-channel-trellis", 141), ("ternary-channel-mse", 141)],
)
def test_a_packed_layer_computes_with_the_same_values(name: str, size: int) -> None:
    linear, grid = torch.nn.Linear(37, 19), Grid.parse(name)
    wanted = torch.nn.functional.linear(normal(3, 37), qv.fake_quantize(linear.weight, grid), linear.bias)
    from qvec_hub.layers.packed_linear import PackedLinear

    layer = PackedLinear.from_linear(linear, grid)
    torch.testing.assert_close(layer(normal(3, 37)), wanted)
    layer.freeze()
    torch.testing.assert_close(layer(normal(3, 37)), wanted)
    assert layer.weight_packed.numel() == size  # of 703 weights
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="eager")(normal(3, 37)), wanted)


@pytest.mark.parametrize("name", ["int4-channel-trellis", "int2-channel-trellis-affine"])
def test_what_is_no_trellis_is_refused(name: str) -> None:
    with pytest.raises(GridError, match="exists on ternary grids and at 2 or 3 bits, symmetric; found"):
        Grid.parse(name)


def test_nan_is_refused() -> None:
    weight = normal(4, 4)
    weight[1, 2] = torch.nan
    with pytest.raises(GridError, match="NaN"):
        quantize(weight, Grid(2, range="trellis"))


def test_constant_weights_keep_finite() -> None:
    for weight in (torch.zeros(4, 4), torch.full((4, 4), 0.5)):
        assert bool(torch.isfinite(qv.fake_quantize(weight, Grid(2, range="trellis"))).all())
