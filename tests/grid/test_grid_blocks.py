"""The mse rule works through large weights block by block: the same bits as in one go."""

import pytest
import torch

from qvec_hub import Grid
from qvec_hub.grid.scale_rules.mse import MSE_BLOCK, _mse, mse


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("units", "size"), [(700, 257), (129, 1024), (17, 8192), (3, 70000), (5000, 27)])
@pytest.mark.parametrize("threads", [1, 2])
def test_blocks_change_nothing(symmetric, units, size, threads):
    assert units * size > MSE_BLOCK
    weight = 0.02 * torch.randn(units, size, generator=torch.Generator().manual_seed(0))
    grid = Grid(bits=2, range="mse", symmetric=symmetric)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        (scale, shift), (whole_scale, whole_shift) = mse(weight, grid), _mse(weight, grid)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(scale, whole_scale)
    assert (shift is None) == symmetric
    assert symmetric or torch.equal(shift, whole_shift)
