"""Rounding a model's weights together gives the bits of rounding them one by one."""

from __future__ import annotations

import pytest
import torch

from qvec_hub import Grid, fake_quantize
from qvec_hub.grid import quantize as together
from qvec_hub.grid.quantize import fake_quantize_all

SHAPES = [(48, 64), (48, 64), (192, 64), (64, 192), (7, 64), (64, 192), (1, 1), (3, 65)]
GRIDS = [
    "int2", "int3", "int4-channel-mse", "int2-channel-mse", "int2-channel-mse-affine", "int3-channel-absmax-affine",
    "int2-group16-mse", "int3-group24", "int2-channel-hqq-affine", "int2-group64-hqq-affine", "int2-tensor-mse",
]  # fmt: skip


def weights(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {f"layer.{i}": (torch.randn(shape, generator=random) * (1 + i)).to(dtype) for i, shape in enumerate(SHAPES)}


@pytest.mark.parametrize("enough", [1, 9_000, 1 << 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("grid", GRIDS)
def test_the_same_bits_as_one_by_one(monkeypatch, grid, dtype, enough):
    monkeypatch.setattr(together, "ENOUGH", enough)
    given, parsed = weights(dtype), Grid.parse(grid)
    found = dict(fake_quantize_all(given, parsed))
    assert found.keys() == given.keys()
    for name, weight in given.items():
        assert torch.equal(found[name], fake_quantize(weight, parsed)), name
        assert found[name].dtype == dtype
        assert torch.equal(weight, weights(dtype)[name])  # what was given is as it was


def test_nothing_to_round():
    assert not dict(fake_quantize_all({}, Grid()))
