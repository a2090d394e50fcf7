"""A scale for heads of every kind: the criterion against its formula, and what no criterion fits refused."""

import copy
import math

import pytest
import torch
from transformers import ViTForImageClassification

import qvec_hub as qv
from qvec_hub import Grid
from qvec_hub.apply.criterion import MULTI_LABEL, REGRESSION, SINGLE_LABEL, WORST, distance, problem_of
from qvec_hub.backbone.names import backbone_linears
from tests.conftest import fine_tuned, tiny_config

GRID = Grid.parse("int2-channel-mse")


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def by_formula(expected: list[list[float]], found: list[list[float]], problem: str) -> float:
    """In plain Python, from the definitions."""
    total = 0.0
    for number, (one, two) in enumerate(zip(expected, found, strict=True)):
        if problem == SINGLE_LABEL:
            soft = [[math.exp(x) / sum(map(math.exp, row)) for x in row] for row in (one, two)]
            total += kl(*soft)
        elif problem == MULTI_LABEL:
            for a, b in zip(one, two, strict=True):
                p, q = (1 / (1 + math.exp(-x)) for x in (a, b))
                total += kl([p, 1 - p], [q, 1 - q])
        else:
            for output, (a, b) in enumerate(zip(one, two, strict=True)):
                column = [row[output] for row in expected]
                mean = sum(column) / len(column)
                variance = sum((x - mean) ** 2 for x in column) / len(column)
                total += (a - b) ** 2 / (variance or 1.0) / len(one)
        assert number < len(expected)
    return total / len(expected)


@pytest.mark.parametrize("problem", [SINGLE_LABEL, MULTI_LABEL, REGRESSION])
def test_distances_are_their_formulas(problem: str) -> None:
    torch.manual_seed(3)
    expected, found = torch.randn(7, 4) * 3, torch.randn(7, 4) * 3
    assert distance(expected, found, problem) == pytest.approx(by_formula(expected.tolist(), found.tolist(), problem))
    assert distance(expected, expected, problem) == 0
    constant = expected.clone()
    constant[:, 2] = 0.1
    assert distance(constant, found, problem) == pytest.approx(by_formula(constant.tolist(), found.tolist(), problem))
    for broken in (float("nan"), float("inf")):
        assert distance(expected, torch.full_like(found, broken), problem) == WORST
    assert 0 < distance(100 * expected, -100 * expected, problem) < WORST


HEADS = {
    "one output": ({"num_labels": 1}, REGRESSION),
    "several outputs": ({"num_labels": 3, "problem_type": REGRESSION}, REGRESSION),
    "several labels": ({"num_labels": 4, "problem_type": MULTI_LABEL}, MULTI_LABEL),
    "one of one label": ({"num_labels": 1, "problem_type": MULTI_LABEL}, MULTI_LABEL),
    "classes": ({"num_labels": 5}, SINGLE_LABEL),
}


def with_head(receiver, changes: dict) -> ViTForImageClassification:
    torch.manual_seed(5)
    model = ViTForImageClassification(tiny_config(**changes)).eval()
    model.vit.load_state_dict(receiver.vit.state_dict())
    model.classifier.weight.data.normal_()
    return model


@pytest.mark.parametrize("head", HEADS)
def test_a_scale_is_chosen_for_every_kind_of_head(head: str, receiver, base, pixels, tmp_path) -> None:
    """As measured by hand; the vector that helps is taken, whatever the head."""
    changes, problem = HEADS[head]
    model = with_head(receiver, changes)
    assert problem_of(model.config) == problem
    vectors = [qv.QuantizationVector.extract(base, fine_tuned(base, 0.02, s), base, grid=GRID) for s in (10, 11, 12)]

    def left(vector: qv.QuantizationVector, scale: float) -> float:
        patched = qv.patch_(copy.deepcopy(model), vector, scale)
        for _, layer in backbone_linears(patched):
            layer.weight.data = qv.fake_quantize(layer.weight.data, GRID)
        with torch.no_grad():
            answers = [each(pixels).logits.tolist() for each in (model, patched)]
        return by_formula(*answers, problem)

    ranked = qv.rank_donors(model, vectors, GRID, scales=[1.0, -1.0], images=pixels)
    for vector, choice in ranked:
        for scale, found in choice.curve:
            assert found == pytest.approx(left(vector, scale), rel=1e-3)
            assert found > 0
        best = min(choice.curve, key=lambda point: point[1])
        assert choice.scale == (best[0] if best[1] < 0.9 * dict(choice.curve)[0.0] else 0.0)
    _, scales = qv.scale_layers(model, vectors[0], GRID, groups=2, images=pixels)
    assert len(scales) == 2
    model.save_pretrained(tmp_path / "receiver")
    how = {"weights": "int2-channel-mse", "images": pixels, "scale": "auto", "rounding": "nearest"}
    loaded = qv.from_pretrained(tmp_path / "receiver", vector=vectors[0], **how)
    expected = qv.choose_scale(model, vectors[0], GRID, images=pixels)
    assert loaded.config.quantization_config.to_dict()["scale_curve"] == [list(point) for point in expected.curve]


def test_tuning_looks_at_features_whatever_the_head(receiver, pixels, quick_rounding) -> None:
    found = [
        qv.quantize_(with_head(receiver, changes), "int2", rounding="tuned", images=pixels).vit.state_dict()
        for changes, _ in HEADS.values()
    ]
    for other in found[1:]:
        assert all(torch.equal(tensor, found[0][name]) for name, tensor in other.items())


def test_heads_that_give_every_image_one_answer(receiver, vector, pixels) -> None:
    alone, other = with_head(receiver, {"num_labels": 1}), copy.deepcopy(receiver)
    for model, problem in ((alone, SINGLE_LABEL), (other, "ranking")):  # transformers refuses both in its constructor
        model.config.__dict__["problem_type"] = problem
    for model, words in ((alone, "num_labels=1"), (other, "'ranking'"), (receiver.vit, "logits")):
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(qv.QVecError, match=words):
            qv.choose_scale(model, vector, GRID, images=pixels)
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_broken_receiver_has_no_scale(receiver, vector, pixels) -> None:
    receiver.classifier.bias.data[0] = float("nan")
    with pytest.raises(qv.QVecError, match="finite logits"):
        qv.choose_scale(receiver, vector, GRID, images=pixels)


@pytest.mark.parametrize("head", ["one output", "several outputs", "several labels"])
def test_there_is_no_top_1_of_such_heads(head: str, receiver, pixels) -> None:
    from qvec_hub.evaluation.images import PreprocessedImages
    from qvec_hub.evaluation.runner import count_correct, predict

    model = with_head(receiver, HEADS[head][0])
    images = PreprocessedImages(pixels, torch.zeros(len(pixels), dtype=torch.long), None, "pil")
    for count in (qv.evaluate, predict, count_correct):
        with pytest.raises(qv.DataError, match=HEADS[head][1]):
            count(model, images)
