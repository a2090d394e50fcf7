"""Controls against their definitions: what they keep of a vector, and what they destroy."""

import copy

import pytest
import torch

import qvec_hub as qv
from qvec_hub.backbone.names import backbone_tensors
from qvec_hub.bench.controls.random_vector import random_like
from qvec_hub.bench.controls.shuffled import shuffled
from qvec_hub.bench.controls.task_vector import task_vector_like
from tests.conftest import fine_tuned, tiny_config


def rows(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(1, -1) if tensor.ndim == 1 else tensor.flatten(1)


def test_shuffling_keeps_the_values_of_each_row_and_loses_their_places(vector) -> None:
    control = shuffled(vector)
    assert control.shapes() == vector.shapes()
    for name in vector:
        before, after = rows(vector[name]), rows(control[name])
        assert torch.equal(before.sort(dim=1).values, after.sort(dim=1).values)
        assert not torch.equal(before, after)
    assert abs(control.cosine(vector)) < 0.05
    assert control.norm() == pytest.approx(vector.norm())


def test_every_row_is_shuffled_by_itself(vector) -> None:
    name = "encoder.layer.0.intermediate.dense.weight"
    size = vector.shapes()[name]
    places = torch.arange(size[1], dtype=torch.float32).expand(size)
    counted = qv.QuantizationVector(vector.config, {name: places})
    order = shuffled(counted)[name]
    assert len({tuple(row) for row in order.tolist()}) == size[0]
    first = torch.stack([shuffled(counted, seed)[name][:, 0] for seed in range(20)])
    assert float(first.mean()) == pytest.approx((size[1] - 1) / 2, rel=0.1)  # uniform over the row


def test_the_task_vector_has_the_direction_of_fine_tuning_and_the_vectors_norm(vector, finetuned, base) -> None:
    control = task_vector_like(vector, finetuned, base)
    ours, start = backbone_tensors(finetuned), backbone_tensors(base)
    flat = torch.cat([(ours[name] - start[name]).double().flatten() for name in vector])
    theirs = torch.cat([control[name].double().flatten() for name in vector])
    assert torch.allclose(theirs, flat * (vector.norm() / float(flat.norm())), rtol=1e-5, atol=1e-9)
    assert control.norm() == pytest.approx(vector.norm(), rel=1e-5)


def test_the_task_vector_takes_folders_and_outlives_its_models(vector, finetuned, base, tmp_path) -> None:
    finetuned.save_pretrained(tmp_path / "fp")
    model = copy.deepcopy(finetuned)
    control = task_vector_like(vector, model, base)
    before = {name: control[name].clone() for name in control}
    qv.patch_(model, control, 1.0)
    again = task_vector_like(vector, tmp_path / "fp", base)
    assert all(torch.equal(control[name], before[name]) for name in control)
    assert all(torch.equal(again[name], before[name]) for name in control)


def test_controls_are_vectors_like_any_other(vector, finetuned, base, receiver, tmp_path) -> None:
    for control in (random_like(vector), shuffled(vector), task_vector_like(vector, finetuned, base)):
        assert control.config.grid == vector.config.grid
        assert control.config.donor.task.endswith("control")
        control.save_pretrained(tmp_path / control.config.donor.task)
        saved = qv.QuantizationVector.from_pretrained(tmp_path / control.config.donor.task)
        assert all(torch.equal(saved[name], control[name]) for name in control)
        qv.patch_(copy.deepcopy(receiver), saved)


@pytest.mark.parametrize("make", [random_like, shuffled])
def test_the_seed_alone_decides(make, vector) -> None:
    first, again, other = make(vector, 1), make(vector, 1), make(vector, 2)
    for name in reversed(vector.names()):
        assert torch.equal(first[name], again[name])
    assert any(not torch.equal(first[name], other[name]) for name in vector)


def test_models_that_give_no_task_vector(vector, finetuned, base) -> None:
    with pytest.raises(qv.ArtifactError, match="difference of finetuned and base is zero"):
        task_vector_like(vector, base, base)
    unrelated = type(base)(tiny_config(hidden_size=64))
    with pytest.raises(qv.MisfitError, match="base does not fit the vector"):
        task_vector_like(vector, finetuned, unrelated)
    broken = fine_tuned(finetuned, float("nan"), seed=0)
    with pytest.raises(qv.ArtifactError, match="NaN"):
        task_vector_like(vector, broken, base)
