"""The metric against hand counts and scikit-learn."""

from __future__ import annotations

import evaluate
import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, top_k_accuracy_score

from qvec_hub.errors import QVecError
from qvec_hub.evaluation.tally import ImageClassificationMetric, predictions_and_ranks


def test_hand_counts():
    metric = ImageClassificationMetric()
    assert isinstance(metric, evaluate.Metric)
    logits = torch.tensor([[6.0, 5, 4, 3, 2, 1], [6, 5, 4, 3, 2, 1], [6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6]])
    metric.add_batch(predictions=logits[:3], references=[0, 4, 5], reference_predictions=[0, 0, 1])
    metric.add_batch(predictions=logits[3:], references=[0], reference_predictions=[5])
    assert metric.compute() == {
        "n": 4,
        "correct": 1,
        "top1": 0.25,
        "correct_top5": 2,
        "top5": 0.5,
        "agreed": 3,
        "agreement": 0.75,
    }


@pytest.mark.parametrize(("classes", "batch"), [(5, 1), (6, 7), (1000, 64)])
def test_against_sklearn(classes, batch):
    random = np.random.default_rng(classes)
    logits = random.normal(size=(201, classes)).astype(np.float32)
    labels = random.integers(0, classes, 201)
    labels[::3] = logits[::3].argmax(axis=1)
    metric = ImageClassificationMetric()
    for start in range(0, 201, batch):
        metric.add_batch(predictions=logits[start : start + batch], references=labels[start : start + batch])
    found = metric.compute()
    assert found["n"] == 201
    assert found["correct"] == accuracy_score(labels, logits.argmax(axis=1), normalize=False)
    ids = np.arange(classes)
    if classes > 5:
        assert found["correct_top5"] == top_k_accuracy_score(labels, logits, k=5, labels=ids, normalize=False)
    else:
        assert found["correct_top5"] == 201
    assert found["top1"] == found["correct"] / 201
    assert found["agreed"] is None
    assert found["agreement"] is None


def test_counts_are_plain_integers():
    found = ImageClassificationMetric().compute(predictions=torch.eye(5), references=torch.arange(5))
    assert all(type(found[name]) is int for name in ("n", "correct", "correct_top5"))


def test_ties_go_to_the_first_id_and_top5_contains_top1():
    logits = torch.zeros(8, 8)
    found = ImageClassificationMetric().compute(predictions=logits, references=torch.arange(8))
    assert (found["correct"], found["correct_top5"]) == (1, 5)
    random = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 3, (500, 9), generator=random).float()
    labels = torch.randint(0, 9, (500,), generator=random)
    predicted, ranks = predictions_and_ranks(coarse, labels)
    assert np.array_equal(predicted, coarse.numpy().argmax(axis=1))
    assert torch.equal(ranks == 0, predicted == labels)
    ordered = np.argsort(-coarse.numpy(), axis=1, kind="stable")  # by falling logit, then by id
    assert np.array_equal(ranks, (ordered == labels.numpy()[:, None]).argmax(axis=1))


def test_fewer_than_five_classes_have_no_top5():
    found = ImageClassificationMetric().compute(predictions=torch.eye(4), references=[0, 1, 2, 0])
    assert (found["correct"], found["correct_top5"], found["top5"]) == (3, None, None)


def test_several_metrics_at_once_and_again():
    first, second = ImageClassificationMetric(), ImageClassificationMetric()
    first.add_batch(predictions=torch.eye(3), references=[0, 1, 2])
    second.add_batch(predictions=torch.eye(6), references=[1] * 6)
    assert first.compute()["correct"] == 3
    assert second.compute()["correct"] == 1
    first.add(prediction=[0.0, 1.0, 0.0, 0.0, 0.0], reference=1, reference_prediction=0)
    assert first.compute() | {"top1": 0, "top5": 0} == {
        "n": 1, "correct": 1, "top1": 0, "correct_top5": 1, "top5": 0, "agreed": 0, "agreement": 0.0,
    }  # fmt: skip


def test_no_files_are_left(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    ImageClassificationMetric().compute(predictions=torch.eye(5), references=torch.arange(5))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_nan_is_an_error_and_not_a_wrong_answer(dtype):
    logits = torch.eye(5, dtype=dtype)
    logits[3, 1] = torch.nan
    with pytest.raises(QVecError, match="expected numbers as logits, found NaN for 1 of 5 images"):
        ImageClassificationMetric().add_batch(predictions=logits, references=torch.arange(5))
    logits[3, 1] = -torch.inf  # a class ruled out is no accident
    assert ImageClassificationMetric().compute(predictions=logits, references=torch.arange(5))["correct"] == 5


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"predictions": torch.zeros(3), "references": [0, 1, 2]}, "expected floating logits"),
        ({"predictions": torch.zeros(3, 2, dtype=torch.int64), "references": [0, 1, 1]}, "expected floating logits"),
        ({"predictions": torch.zeros(3, 2), "references": [0, 1]}, "expected floating logits"),
        ({"predictions": torch.zeros(3, 2), "references": [0, 1, 2]}, "integer labels from 0 to 1"),
        ({"predictions": torch.zeros(2, 2), "references": [0, -1]}, "integer labels from 0 to 1"),
        ({"predictions": torch.zeros(2, 2), "references": [0.0, 1.0]}, "integer labels from 0 to 1"),
        ({"predictions": torch.zeros(1, 2), "references": [0], "reference_predictions": [0, 1]}, "1 reference"),
    ],
)
def test_inputs_that_do_not_fit(batch, message):
    with pytest.raises(QVecError, match=message):
        ImageClassificationMetric().add_batch(**batch)


def test_batches_of_different_kinds():
    metric = ImageClassificationMetric()
    metric.add_batch(predictions=torch.zeros(1, 5), references=[0])
    with pytest.raises(QVecError, match="batches of one kind"):
        metric.add_batch(predictions=torch.zeros(1, 6), references=[0])
    with pytest.raises(QVecError, match="batches of one kind"):
        metric.add_batch(predictions=torch.zeros(1, 5), references=[0], reference_predictions=[0])


def test_nothing_added():
    with pytest.raises(QVecError, match="found none added"):
        ImageClassificationMetric().compute()
