"""Merging: each method against its formula, written anew; what does not go together; how much memory it takes."""

import math
from pathlib import Path

import pytest
import torch

import qvec_hub as qv
from qvec_hub.artifact.folder import Computed
from qvec_hub.vector.merge import MERGE_METHODS
from tests.conftest import fine_tuned

NAME = "encoder.layer.0.intermediate.dense.weight"


@pytest.fixture(scope="module")
def vectors(base, finetuned) -> list[qv.QuantizationVector]:
    return [
        qv.QuantizationVector.extract(finetuned, fine_tuned(finetuned, 0.001 * seed, seed), base=base, grid="int2")
        for seed in (3, 4, 5)
    ]


def test_norm_mean_keeps_the_average_length(vectors) -> None:
    merged = qv.merge(vectors, "norm_mean", weights=[1, 1, 2])
    parts = torch.stack([v[NAME] for v in vectors]).double()
    mean = 0.25 * parts[0] + 0.25 * parts[1] + 0.5 * parts[2]
    length = 0.25 * parts[0].norm() + 0.25 * parts[1].norm() + 0.5 * parts[2].norm()
    assert torch.allclose(merged[NAME].double(), mean / mean.norm() * length, rtol=1e-4)


def test_ties_by_its_paper(vectors) -> None:
    """Trim to the largest half, elect the sign of the sum, average what agrees with it."""
    parts = torch.stack([v[NAME] for v in vectors]).flatten(1)
    trimmed = torch.zeros_like(parts)
    for row, part in zip(trimmed, parts, strict=True):
        kept = sorted(range(len(part)), key=lambda i: -abs(float(part[i])))[: len(part) // 2]
        row[kept] = part[kept]
    expected = []
    for column in trimmed.T.tolist():
        sign = 1 if sum(column) >= 0 else -1
        agreeing = [number for number in column if number * sign > 0]
        expected.append(sum(agreeing) / len(agreeing) if agreeing else 0.0)
    assert torch.allclose(qv.merge(vectors, "ties")[NAME].flatten(), torch.tensor(expected), atol=1e-7)


def test_magnitude_prune_keeps_the_largest(vectors) -> None:
    merged = qv.merge(vectors, "magnitude_prune", density=0.25)[NAME]
    expected = torch.zeros_like(merged)
    for vector in vectors:
        part = vector[NAME]
        least = part.abs().flatten().sort(descending=True).values[part.numel() // 4 - 1]
        expected += torch.where(part.abs() >= least, part, 0) / 3
    assert torch.allclose(merged, expected, atol=1e-7)


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties"])
def test_dare_drops_by_its_seed_and_is_right_on_average(vectors, method: str) -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    one, same, other = (qv.merge(vectors, method, seed=seed)[NAME] for seed in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state()), "nobody else's random numbers change"
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    if method == "dare_linear":
        many = sum(qv.merge(vectors, method, seed=seed)[NAME] for seed in range(200)) / 200
        mean = qv.merge(vectors)[NAME]
        assert float((many - mean).norm() / mean.norm()) < 3 / math.sqrt(200)


@pytest.mark.parametrize("method", MERGE_METHODS.names())
def test_every_method_gives_an_artifact_with_its_sources(vectors, tmp_path: Path, method: str) -> None:
    merged = qv.merge(vectors, method, weights=[2, 1, 1], density=1.0)
    merged.save_pretrained(tmp_path / "v")
    loaded = qv.QuantizationVector.from_pretrained(tmp_path / "v")
    assert torch.equal(loaded[NAME], merged[NAME])
    assert [source.weight for source in loaded.config.sources] == [0.5, 0.25, 0.25]
    assert (loaded.config.recipe["name"], loaded.config.recipe["method"]) == ("merge", method)


def test_what_does_not_go_together(vectors, base, finetuned) -> None:
    other = qv.QuantizationVector.extract(finetuned, base, grid="int3")
    with pytest.raises(qv.MisfitError, match=r"one grid, found int2-channel-absmax .* and int3-channel-absmax"):
        qv.merge([*vectors, other])
    for wrong in ([1, 2], [1, -1, 1], [0, 0, 0], [1, math.nan, 1]):
        with pytest.raises(qv.QVecError, match="weights: expected 3 numbers"):
            qv.merge(vectors, weights=wrong)
    with pytest.raises(qv.QVecError, match="'average'"):
        qv.merge(vectors, "average")
    for density in (0, 1.5, math.nan):
        with pytest.raises(qv.QVecError, match="density"):
            qv.merge(vectors, "ties", density=density)


def test_one_tensor_of_each_is_in_memory_at_a_time(vectors) -> None:
    """22 vectors of 8 tensors each: were they all read, the peak would be 8 times as high."""
    alive, most = 0, 0

    class Counted:
        def __init__(self) -> None:
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def tensor(name: str) -> torch.Tensor:
        made = torch.ones(4, 4)
        made.witness = Counted()
        return made

    shapes = {f"x{i}.weight": (4, 4) for i in range(8)}
    many = [qv.QuantizationVector(vectors[0].config, Computed(shapes, tensor)) for _ in range(22)]
    merged = qv.merge(many)
    for name in merged:
        assert torch.allclose(merged[name], torch.ones(4, 4))
    assert most == 22
