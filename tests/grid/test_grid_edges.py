"""Rows that are all but zero, constant, huge or half precision: the published formula by NumPy, and never NaN."""

import copy

import numpy as np
import pytest
import torch

import qvec_hub as qv
from qvec_hub import Grid, fake_quantize
from qvec_hub.backbone.names import backbone_linears
from qvec_hub.grid.quantize import dequantize, quantize
from qvec_hub.grid.sums import SERIAL

PATTERN = np.array([1.0, -0.3, 0.5, -0.5, 0.0, 0.07, -0.9], dtype=np.float32)
ROWS = {
    "zeros": PATTERN * 0,
    "minus zeros": PATTERN * np.float32(-0.0),
    "denormal": PATTERN * np.float32(1e-42),
    "below the clamp": PATTERN * np.float32(3e-9),
    "at the clamp": PATTERN * np.float32(1e-8),
    "where only the scale is below 1e-8": PATTERN * np.float32(2.5e-8),
    "constant": np.full(7, 0.25, dtype=np.float32),
    "negative constant": np.full(7, -0.1, dtype=np.float32),
    "one weight": np.eye(1, 7, 3, dtype=np.float32)[0],
    "huge": PATTERN * np.float32(1e38),
    "huge constant": np.full(7, -1e38, dtype=np.float32),
    "ordinary": PATTERN,
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
RULES = ["absmax", "absmax-affine", "mse", "mse-affine", "hqq-affine"]


def by_numpy(units: np.ndarray, bits: int) -> np.ndarray:
    """``s = max(max|w|, 1e-8) / qmax``, ``clip(rint(w / s), qmin, qmax) · s``, one row a unit, all in float32."""
    qmax = 2 ** (bits - 1) - 1
    scale = np.maximum(np.abs(units).max(axis=1, keepdims=True), np.float32(1e-8)) / np.float32(qmax)
    return np.clip(np.rint(units / scale), -qmax - 1, qmax) * scale


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("case", ROWS)
def test_absmax_is_the_published_formula_at_every_magnitude(case: str, bits: int, receiver) -> None:
    rows = np.stack([ROWS[case], ROWS["below the clamp"], np.roll(ROWS[case], 3)])
    weight = torch.from_numpy(rows)
    grouped = np.concatenate([by_numpy(part, bits) for part in (rows[:, :4], rows[:, 4:])], axis=1)
    for granularity, expected in (
        (Grid(bits), by_numpy(rows, bits)),
        (Grid(bits, "tensor"), by_numpy(rows.reshape(1, -1), bits).reshape(rows.shape)),
        (Grid(bits, "group", group_size=4), grouped),
    ):
        assert np.array_equal(fake_quantize(weight, granularity).numpy(), expected), granularity
        assert np.array_equal(dequantize(*quantize(weight, granularity), granularity).numpy(), expected), granularity


def test_training_and_packed_layers_follow_the_same_formula(receiver) -> None:
    for number, (_, layer) in enumerate(backbone_linears(receiver)):
        layer.weight.data[::2] *= (1e-7, 1e-8, 1e-9, 0.0)[number % 4]
    packed, trained = qv.quantize_(copy.deepcopy(receiver), "int3"), qv.prepare_qat_(copy.deepcopy(receiver), "int3")
    for name, layer in backbone_linears(receiver):
        expected = by_numpy(layer.weight.detach().numpy(), 3)
        assert np.array_equal(packed.get_submodule(name).weight.dequantize().numpy(), expected)
        inputs = torch.eye(layer.in_features)
        rounded = trained.get_submodule(name)(inputs) - layer.bias
        assert torch.allclose(rounded.T, torch.from_numpy(expected), atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group4"])
def test_every_rule_gives_finite_values_close_by(granularity: str, rule: str, dtype: torch.dtype) -> None:
    """Within two steps of the absmax grid (float32's own last bits on top), whatever the row."""
    for case, row in ROWS.items():
        weight = torch.from_numpy(np.stack([row, np.roll(row, 2), row[::-1].copy()])).to(dtype)
        if not bool(torch.isfinite(weight).all()):
            continue  # 1e38 in half precision
        for bits in (2, 3, 8):
            grid = Grid.parse(f"int{bits}-{granularity}-{rule}")
            codes, scale, shift = quantize(weight, grid)
            values = fake_quantize(weight, grid)
            assert bool(torch.isfinite(scale).all()), (case, grid)
            assert bool((scale > 0).all()), (case, grid)
            assert values.dtype == dtype
            assert bool(torch.isfinite(values).all()), (case, grid)
            assert torch.equal(dequantize(codes, scale, shift, grid).to(dtype), values), (case, grid)
            spread = (weight.double().max() - weight.double().min()).clamp(min=weight.double().abs().max())
            bound = 2 * max(float(spread), 1e-8) / (2 ** (bits - 1) - 1)
            assert float((values.double() - weight.double()).abs().max()) <= bound, (case, grid)


def test_what_no_float32_can_hold_is_refused() -> None:
    far_apart = torch.tensor([[3e38, -3e38, 0.0]])
    with pytest.raises(qv.GridError, match="further apart"):
        quantize(far_apart, Grid.parse("int3-channel-absmax-affine"))
    assert bool(torch.isfinite(fake_quantize(far_apart, Grid(3))).all())
    with pytest.raises(qv.GridError, match="infinity"):
        quantize(torch.tensor([[1e300, 1.0]], dtype=torch.float64), Grid(3))


@pytest.mark.parametrize("name", ["int3-tensor-mse", "int2-tensor-mse-affine", "int4-tensor-hqq-affine"])
@pytest.mark.parametrize("shape", [(64, 640), (1, 50_000), (3, SERIAL)])
def test_one_long_unit_is_summed_alike_by_any_number_of_threads(name: str, shape: tuple[int, int]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(4))
    found, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2, 3, 4):
            torch.set_num_threads(count)
            found.append(quantize(weight, Grid.parse(name)))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert (one is None and two is None) or torch.equal(one, two)
