"""Ternary grids: three levels a row, five codes in a byte."""

import numpy as np
import pytest
import torch

import qvec_hub as qv
from qvec_hub import Grid, GridError
from qvec_hub.grid.packing import TERNARY, pack, packed_size, unpack
from qvec_hub.grid.quantize import dequantize, quantize


def test_names() -> None:
    grid = Grid.parse("ternary")
    assert grid == Grid(1.6) == Grid(np.float64(1.6))
    assert grid.name == "ternary-channel-absmax"
    assert (grid.fan, grid.qmin, grid.qmax, grid.width) == (3, -1, 1, "ternary")
    assert Grid.parse("ternary-group16-mse") == Grid(1.6, "group", "mse", group_size=16)
    assert Grid.from_dict(grid.to_dict()) == grid


@pytest.mark.parametrize("bits", [1, 1.5, 1.61, 2.0, "1.6"])
def test_other_widths_are_refused(bits) -> None:
    with pytest.raises(GridError, match=r"an integer from 2 to 8, or 1\.6 on ternary grids, found"):
        Grid(bits)


def test_an_affine_one_is_refused() -> None:
    with pytest.raises(GridError, match="expected symmetric=True"):
        Grid.parse("ternary-channel-mse-affine")


def test_absmax_by_hand() -> None:
    weight = torch.tensor([[0.8, -0.41, 0.39, -0.1], [0.0, 0.0, 0.0, 0.0]])
    codes, scale, shift = quantize(weight, Grid(1.6))
    assert shift is None
    assert codes.tolist() == [[2, 0, 1, 1], [1, 1, 1, 1]]  # codes stand for -1, 0 and 1
    values = dequantize(codes, scale, None, Grid(1.6))
    assert torch.equal(values, torch.tensor([[0.8, -0.8, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    assert torch.equal(values, qv.fake_quantize(weight, "ternary"))


def test_least_squares_scales_are_found_by_trying_all() -> None:
    """The best ternary approximation of a row keeps its k largest weights at their mean magnitude (Li et al., 2016)."""
    weight = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    found = (qv.fake_quantize(weight, "ternary-channel-mse") - weight).square().sum(1)
    sorted_ = weight.abs().sort(dim=1, descending=True).values
    kept = sorted_.cumsum(1).square() / torch.arange(1, 51)
    best = weight.square().sum(1) - kept.amax(1)
    assert bool((found <= 1.02 * best).all())


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 253])
def test_five_in_a_byte(count: int) -> None:
    codes = torch.randint(0, 3, (count,), generator=torch.Generator().manual_seed(count), dtype=torch.uint8)
    packed = pack(codes, TERNARY)
    assert packed.dtype == torch.uint8
    assert packed.numel() == packed_size(count, TERNARY) == -(-count // 5)
    for place, byte in enumerate(packed.tolist()):
        assert byte == sum(code * 3**digit for digit, code in enumerate(codes[5 * place : 5 * place + 5].tolist()))
    assert torch.equal(unpack(packed, TERNARY, count, torch.uint8), codes)
    assert torch.equal(unpack(packed, TERNARY, count, offset=-1), codes.float() - 1)
