"""A scale chosen without receiver data, against the criterion computed by hand."""

import copy
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import qvec_hub as qv
from qvec_hub import Grid
from qvec_hub.apply.choose_scale import COMPARE_SEED, best_scale, divergence_measure
from qvec_hub.backbone.names import backbone_linears
from qvec_hub.proxies.draw import proxy_images
from qvec_hub.proxies.model_inputs import enough_images, proxy_pixels
from tests.conftest import fine_tuned

GRID = Grid.parse("int2-channel-mse")


def divergence(model, vector, scale: float, images: torch.Tensor) -> float:
    patched = qv.patch_(copy.deepcopy(model), vector, scale)
    for _, layer in backbone_linears(patched):
        layer.weight.data = qv.fake_quantize(layer.weight.data, GRID)
    with torch.no_grad():
        expected, found = (F.softmax(each(images).logits.double(), dim=-1) for each in (model, patched))
    return float((expected * (expected / found).log()).sum(dim=-1).mean())


@pytest.mark.parametrize("given", [True, False])
def test_the_curve_is_the_divergence_on_the_images(given: bool, receiver, vector, pixels) -> None:
    before = copy.deepcopy(receiver.state_dict())
    images = pixels if given else proxy_pixels(receiver, enough_images(receiver) // 2, COMPARE_SEED)
    scales = (-0.5, 0.4, 1.0)
    choice = qv.choose_scale(receiver, vector, GRID, scales=scales, images=pixels if given else None)
    assert [scale for scale, _ in choice.curve] == [-0.5, 0.0, 0.4, 1.0]
    for scale, found in choice.curve:
        assert found == pytest.approx(divergence(receiver, vector, scale, images), rel=1e-4)
    plain, least = dict(choice.curve)[0.0], min(found for _, found in choice.curve)
    assert choice.divergence == (least if least < 0.9 * plain else plain)
    assert all(torch.equal(tensor, before[name]) for name, tensor in receiver.state_dict().items())


@pytest.fixture
def candidates(receiver, base, pixels) -> list[qv.QuantizationVector]:
    """Small random vectors, from the one after which rounding harms this receiver least to the one of most harm."""
    vectors = [
        qv.QuantizationVector.extract(base, fine_tuned(base, 0.02, seed), base, grid=GRID) for seed in range(10, 22)
    ]
    return sorted(vectors, key=lambda vector: divergence(receiver, vector, 1.0, pixels))


def test_a_vector_that_helps_is_used_and_one_that_harms_is_not(receiver, candidates, pixels) -> None:
    receiver.train()
    helps, harms = candidates[0], candidates[-1]
    plain = divergence(receiver, helps, 0.0, pixels)
    least, most = (divergence(receiver, vector, 1.0, pixels) for vector in (helps, harms))
    assert least < plain < most  # or the test would show nothing
    chosen = qv.choose_scale(receiver, helps, GRID, scales=[1.0], images=pixels)
    refused = qv.choose_scale(receiver, harms, GRID, scales=[1.0], images=pixels)
    assert receiver.training
    assert (chosen.scale, refused.scale) == (1.0, 0.0)
    assert chosen.share_removed == pytest.approx(1 - least / plain, rel=1e-3)
    assert refused.share_removed == 0


@pytest.mark.parametrize("rounding", ["gptq", "fitted"])
def test_scales_are_compared_after_the_rounding_that_is_to_come(rounding: str, receiver, vector, pixels) -> None:
    choice = qv.choose_scale(receiver, vector, GRID, rounding=rounding, scales=[1.0], images=pixels)
    for scale, found in choice.curve:
        treated = qv.patch_(copy.deepcopy(receiver), vector, scale)
        qv.quantize_(treated, GRID, rounding=rounding, images=pixels[:3])
        with torch.no_grad():
            expected, own = (F.log_softmax(each(pixels).logits, dim=-1) for each in (receiver, treated))
        assert found == pytest.approx(float((expected.exp() * (expected - own)).sum(dim=-1).mean()), rel=1e-3)


def test_donors_are_ranked_by_what_they_leave(receiver, candidates, pixels) -> None:
    shuffled = [candidates[at] for at in (5, 0, 11)]
    ranked = qv.rank_donors(receiver, shuffled, GRID, scales=[1.0], images=pixels)
    assert ranked[0][0] is candidates[0]
    assert ranked[-1][1].scale == 0
    assert [choice.divergence for _, choice in ranked] == sorted(choice.divergence for _, choice in ranked)
    with pytest.raises(qv.QVecError, match="at least one"):
        qv.rank_donors(receiver, [], GRID)


def test_what_does_not_fit_is_said_and_changes_nothing(receiver, vector, pixels) -> None:
    before = copy.deepcopy(receiver.state_dict())
    for how, words in (
        ({"rounding": "up"}, "rounding"),
        ({"scales": [float("nan")]}, "scales"),
        ({"rounding": "fitted", "images": pixels[:, :, :8]}, "refuses"),
    ):
        with pytest.raises(qv.QVecError, match=words):
            qv.choose_scale(receiver, vector, GRID, **how)
    unrelated = copy.deepcopy(receiver)
    for parameter in unrelated.parameters():
        parameter.data = torch.randn_like(parameter)
    with pytest.raises(qv.LineageError):
        qv.choose_scale(unrelated, vector, GRID)
    assert all(torch.equal(tensor, before[name]) for name, tensor in receiver.state_dict().items())


# Through from_pretrained ---------------------------------------------------------------------------------------


def same(one, other) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def on_grid(vector, grid: Grid) -> qv.QuantizationVector:
    return vector.with_config(grid=grid)


@pytest.mark.parametrize("rounding", ["gptq", "fitted"])
@pytest.mark.parametrize("weights", ["int2", "int3-group8-mse-affine"])
def test_loading_equals_patching_and_rounding_by_hand(
    rounding: str, weights: str, vector, receiver_folder: Path, tmp_path: Path, pixels
) -> None:
    grid = Grid.parse(weights)
    given = on_grid(vector, grid)
    loaded = qv.from_pretrained(receiver_folder, vector=given, weights=weights, scale=0.7, rounding=rounding)
    by_hand = qv.patch_(qv.from_pretrained(receiver_folder), given, 0.7)
    qv.quantize_(by_hand, grid, rounding=rounding)
    assert same(loaded, by_hand)
    record = loaded.config.quantization_config.to_dict()
    assert record == by_hand.config.quantization_config
    assert (record["rounding"], record["watched"], record["scale_curve"]) == (rounding, "proxies", None)
    loaded.save_pretrained(tmp_path / "saved")
    again = qv.from_pretrained(tmp_path / "saved")
    assert torch.equal(again(pixels).logits, loaded(pixels).logits)
    assert again.config.quantization_config.to_dict() == record


def test_own_images_make_it_calibrated(vector, receiver_folder: Path, pixels) -> None:
    how = {"weights": "int3", "scale": "auto", "rounding": "fitted", "images": pixels}
    config = qv.from_pretrained(receiver_folder, vector=vector, **how).config.quantization_config
    assert config.watched == "own_images"
    assert config.images is None
    assert config.progress is None
    grid = "int3-channel-absmax"
    plain = qv.from_pretrained(receiver_folder, weights=grid, rounding="gptq", images=pixels)
    by_hand = qv.quantize_(qv.from_pretrained(receiver_folder), grid, rounding="gptq", images=pixels)
    assert same(plain, by_hand)


def test_half_precision_keeps_float_scales(vector, receiver_folder: Path, pixels) -> None:
    how = {"vector": on_grid(vector, Grid(8)), "weights": "int8", "scale": 1.0, "rounding": "fitted"}
    half = qv.from_pretrained(receiver_folder, dtype=torch.bfloat16, **how)
    whole = qv.from_pretrained(receiver_folder, **how)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    scales = [buffer.dtype for name, buffer in half.named_buffers() if name.endswith("_scale")]
    assert set(scales) == {torch.float32}
    assert torch.allclose(half(pixels.bfloat16()).logits.float(), whole(pixels).logits, atol=0.1)


def test_refusals_before_anything_is_done(vector, receiver, receiver_folder: Path, pixels) -> None:
    with pytest.raises(qv.QVecError, match="rounding"):
        qv.from_pretrained(receiver_folder, weights="int3", rounding="down")
    with pytest.raises(qv.QVecError, match="pixel values"):
        qv.from_pretrained(receiver_folder, weights="int3", rounding="gptq", images=[1, 2])
    before = copy.deepcopy(receiver.state_dict())
    with pytest.raises(qv.QVecError, match="refuses"):
        qv.quantize_(receiver, "int3", rounding="gptq", images=pixels[:, :2])
    with pytest.raises(qv.QVecError, match="choose_scale"):
        qv.patch_(receiver, vector, "auto")
    assert all(torch.equal(tensor, before[name]) for name, tensor in receiver.state_dict().items())
    unrelated = vector.with_config(base_model=replace(vector.config.base_model))
    for parameter in receiver.parameters():
        parameter.data = torch.randn_like(parameter)
    receiver.save_pretrained(receiver_folder)
    with pytest.raises(qv.LineageError):
        qv.from_pretrained(receiver_folder, vector=unrelated, weights="int3", scale="auto", rounding="nearest")


@pytest.mark.parametrize(("rounding", "clear"), [("nearest", 0.1), ("gptq", 0.1), ("fitted", 0.2), ("tuned", 0.2)])
def test_a_scale_must_be_clearly_better_than_none(rounding: str, clear: float) -> None:
    """The worse for the luck of rounding, the more it takes."""
    assert best_scale([(0.0, 1.0), (0.5, 1.001 - clear), (1.0, 2.0)], rounding) == 0.0
    assert best_scale([(0.0, 1.0), (0.5, 0.999 - clear), (1.0, 2.0)], rounding) == 0.5


@pytest.mark.parametrize(
    ("rounding", "second", "expected"), [("fitted", 0.9, 0.0), ("fitted", 0.6, 0.5), ("nearest", 0.9, 0.5)]
)
def test_what_wins_by_the_luck_of_a_rounding_must_win_again(
    rounding: str, second: float, expected: float, receiver, vector, monkeypatch
) -> None:
    @contextmanager
    def divergence_measure(*_: object, again: bool = False, **__: object):
        yield lambda scales: {0.0: 1.0, 0.5: second if again else 0.5}[scales[next(iter(vector))]]

    monkeypatch.setattr("qvec_hub.apply.choose_scale.divergence_measure", divergence_measure)
    choice = qv.choose_scale(receiver, vector, GRID, rounding=rounding, scales=[0.5])
    assert choice.scale == expected
    assert choice.curve == ((0.0, 1.0), (0.5, 0.5))


def test_the_second_trial_has_other_images(receiver, vector, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(
        "qvec_hub.apply.choose_scale.round_linears_", lambda model, grid, rounding, images, **_: seen.append(images)
    )
    trials = []
    for again in (False, True):
        with divergence_measure(receiver, vector, GRID, "fitted", None, None, again=again) as divergence:
            trials.append(divergence(dict.fromkeys(vector, 1.0)))
    assert not torch.equal(seen[0], seen[1])
    assert trials[0] != trials[1]  # compared on other images, too


@pytest.mark.usefixtures("quick_rounding")
@pytest.mark.parametrize("shipped", [0, 1, 7])
def test_any_seed_draws_proxy_images_of_its_own(shipped: int, receiver, vector) -> None:
    """Half of the images that come with a vector are compared on, with every seed."""
    given = vector.with_images(proxy_images(shipped, 16)) if shipped else vector
    compared = given.images()[1::2] if shipped > 1 else None
    curves = []
    for seed in (0, 2, 41):
        watched = proxy_pixels(receiver, enough_images(receiver) // 2, 2 * seed + 1, compared)
        choice = qv.choose_scale(receiver, given, GRID, scales=[1.0], seed=seed)
        assert dict(choice.curve)[1.0] == pytest.approx(divergence(receiver, given, 1.0, watched), rel=1e-4)
        assert qv.rank_donors(receiver, [given], GRID, scales=[1.0], seed=seed) == [(given, choice)]
        curves.append(choice.curve)
    assert len(set(curves)) == 3
    assert len(qv.scale_layers(receiver, given, GRID, groups=1, seed=41)[1]) == 1
    assert curves[0] == qv.choose_scale(receiver, given, GRID, scales=[1.0]).curve


@pytest.mark.usefixtures("quick_rounding")
@pytest.mark.parametrize("seed", [0, 41])
def test_any_seed_rounds_with_the_other_half(seed: int, receiver, vector) -> None:
    given = vector.with_images(proxy_images(7, 16))
    enough = enough_images(receiver)
    fitting = proxy_pixels(receiver, enough // 4, 2 * seed, given.images()[::2])
    watched = proxy_pixels(receiver, enough // 2, 2 * seed + 1, given.images()[1::2])
    treated = qv.quantize_(copy.deepcopy(receiver), GRID, rounding="gptq", images=fitting)
    with torch.no_grad():
        expected, own = (F.log_softmax(each(watched).logits, dim=-1) for each in (receiver, treated))
    choice = qv.choose_scale(receiver, given, GRID, rounding="gptq", scales=[], seed=seed)
    (point,) = choice.curve
    assert point == (0.0, pytest.approx(float((expected.exp() * (expected - own)).sum(dim=-1).mean()), rel=1e-3))


@pytest.mark.parametrize("seed", [-1, 1.0, True, "1", None])
def test_a_seed_is_an_integer_of_at_least_zero(seed, receiver, vector) -> None:
    for choose in (
        lambda: qv.choose_scale(receiver, vector, GRID, seed=seed),
        lambda: qv.rank_donors(receiver, [vector], GRID, seed=seed),
        lambda: qv.scale_layers(receiver, vector, GRID, groups=1, seed=seed),
    ):
        with pytest.raises(qv.QVecError, match="seed: expected an integer of at least 0"):
            choose()
