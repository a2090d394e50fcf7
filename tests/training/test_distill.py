"""distill_donor: a base made for a grid towards its own features, and a vector that belongs to no task."""

import copy
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import (
    AutoModelForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    TrainerCallback,
    ViTModel,
)

import qvec_hub as qv
from qvec_hub import DataError, DistillRecipe, Grid, QuantizationVector, QVecError, fake_quantize
from qvec_hub.backbone.names import backbone_linears, canonical_names
from qvec_hub.training.recipes.registry import RECIPES
from qvec_hub.training.start import starting_model

GRID = "int2-channel-absmax"
QUICK = DistillRecipe(epochs=6, learning_rate=2e-4, warmup_steps=2, batch_size=8)


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(48, 3, 16, 16, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def donor(base, pixels, tmp_path_factory):
    return qv.distill_donor(base, tmp_path_factory.mktemp("donors") / "base", grid=GRID, images=pixels, recipe=QUICK)


def features(model, pixels):
    """Of every layer and at the end, without anything of ours."""
    with torch.no_grad():
        output = model(pixels, output_hidden_states=True)
    return [*output.hidden_states[1:], output.last_hidden_state]


def rounded_(model):
    for _, layer in backbone_linears(model):
        layer.weight.data = fake_quantize(layer.weight.data, Grid.parse(GRID))
    return model.eval()


def test_the_vector_brings_a_rounded_base_nearer_to_the_float_one(base, donor, pixels) -> None:
    fresh = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(9))
    wanted = features(ViTModel.from_pretrained(base, add_pooling_layer=False).eval(), fresh)

    def far(scale: float) -> float:
        model = ViTModel.from_pretrained(base, add_pooling_layer=False)
        if scale:
            qv.patch_(model, QuantizationVector.from_pretrained(donor.vector), scale=scale)
        found = features(rounded_(model), fresh)
        pairs = [(a.flatten(0, 1), b.flatten(0, 1)) for a, b in zip(found, wanted, strict=True)]
        return sum(float((a - b).square().mean() / b.var(0).mean()) for a, b in pairs)

    assert far(1.0) < 0.75 * far(0.0)


def test_it_belongs_to_a_base_and_to_no_task(base, donor) -> None:
    vector = QuantizationVector.from_pretrained(donor.vector)
    assert (vector.config.donor.task, vector.config.donor.dataset) == (None, None)
    assert (vector.config.recipe["name"], vector.config.grid) == ("distill", Grid.parse(GRID))
    assert vector.config.recipe["hidden"] == 1.0
    start = ViTModel.from_pretrained(base, add_pooling_layer=False)
    trained = AutoModelForImageClassification.from_pretrained(donor.qat)
    names, after = canonical_names(start), dict(trained.vit.named_parameters())
    for name, tensor in start.named_parameters():
        torch.testing.assert_close(vector[names[name]], after[name].detach() - tensor.detach(), rtol=0, atol=0)
    assert donor.images == 48
    card = (donor.vector / "README.md").read_text()
    assert f"# base-{GRID}-qvec" in card
    assert "itself, without any task" in card
    assert "on the same task" not in card


def test_a_fine_tune_of_the_base_takes_it(base, donor, tmp_path) -> None:
    receiver = starting_model(base, ["a", "b", "c"], seed=1)
    receiver.save_pretrained(tmp_path / "receiver")
    model = qv.from_pretrained(tmp_path / "receiver", vector=donor.vector, weights=GRID, scale=1.0)
    assert model.config.quantization_config.scale == 1.0
    for parameter in receiver.vit.parameters():
        nn.init.normal_(parameter)
    with pytest.raises(qv.LineageError):
        qv.patch_(receiver, QuantizationVector.from_pretrained(donor.vector))


def test_the_loss_is_the_formula(base, pixels) -> None:
    """Of the final class token and of every layer, against transformers' own hidden states."""
    plain = starting_model(base, ["a", "b"], seed=0).eval()
    student = copy.deepcopy(plain)
    recipe = DistillRecipe(hidden=0.25)
    with RECIPES.get("distill").training(student, Grid.parse(GRID), recipe, lambda: plain) as loss:
        found = loss({"pixel_values": pixels}, student(pixels))
        assert found.requires_grad
    own = rounded_(copy.deepcopy(plain))
    with torch.no_grad():
        pairs = [model.vit(pixels, output_hidden_states=True) for model in (own, plain)]

    def d(a, b):
        a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
        return ((a - b) ** 2).mean() / b.var(0, unbiased=False).mean()

    ends = d(*(each.last_hidden_state[:, 0] for each in pairs))
    layers = [d(a, b) for a, b in zip(*(each.hidden_states[1:] for each in pairs), strict=True)]
    torch.testing.assert_close(found.detach(), ends + 0.25 * sum(layers) / len(layers))
    assert type(student.vit.layers[0].mlp.fc1) is nn.Linear  # as before


def test_it_goes_on_after_an_interruption(base, pixels, tmp_path, donor) -> None:
    class Stop(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 14:
                raise KeyboardInterrupt

    how = {"grid": GRID, "images": pixels, "recipe": QUICK}
    with pytest.raises(KeyboardInterrupt):
        qv.distill_donor(base, tmp_path / "out", **how, callbacks=[Stop()])
    assert not (tmp_path / "out" / "qat").exists()
    with pytest.raises(QVecError, match="found a donor there"):
        qv.distill_donor(base, tmp_path / "out", **how)
    again = qv.distill_donor(base, tmp_path / "out", **how, resume=True)
    one, other = (QuantizationVector.from_pretrained(each.vector) for each in (again, donor))
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-6)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["qat", "training.json", "vector"]
    assert json.loads((tmp_path / "out" / "training.json").read_text())["images"] == 48


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"images": torch.zeros(4, 3, 16, 16)}, DataError, r"expected at least a batch of 8, found 4"),
        ({"images": torch.ones(9, 3, 16, 16)}, DataError, r"expected different ones, found 9 alike"),
        ({"images": torch.randn(9, 1, 16, 16)}, QVecError, r"expected 3 channels, found 1"),
        ({"images": torch.full((9, 3, 16, 16), float("nan"))}, QVecError, r"expected finite pixel values"),
        ({"recipe": qv.TrainingRecipe()}, QVecError, r"expected a DistillRecipe, found TrainingRecipe"),
        ({"grid": "int9"}, qv.GridError, r"bits must be an integer from 2 to 8, or 1.6 on ternary grids, found 9"),
    ],
)
def test_bad_input_is_told_before_anything_is_written(base, tmp_path, how, error, message) -> None:
    with pytest.raises(error, match=message):
        qv.distill_donor(base, tmp_path / "out", **{"recipe": QUICK, **how})
    assert not (tmp_path / "out").exists()


def test_a_diverging_run_leaves_nothing_half_made(base, pixels, tmp_path) -> None:
    wild = DistillRecipe(epochs=2, learning_rate=1e30, warmup_steps=0, batch_size=8, clip_norm=0.0)
    with pytest.raises(QVecError, match="expected finite weights after training"):
        qv.distill_donor(base, tmp_path / "out", grid=GRID, images=pixels, recipe=wild)
    assert not (tmp_path / "out" / "qat").exists()
    assert not (tmp_path / "out" / "vector").exists()


def test_the_command_trains_one_on_a_folder_of_images(base, qvec, tmp_path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(9):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    how = ("--weights", GRID, "--epochs", 1, "--batch-size", 3, "--warmup-steps", 0)
    done = qvec("train", "--distill", base, "--images", folder, "--out", tmp_path / "out", *how, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["images"] == 9
    config = QuantizationVector.from_pretrained(found["vector"]).config
    assert config.of_base
    assert config.grid == Grid.parse(GRID)
    assert (config.recipe["epochs"], config.recipe["learning_rate"]) == (1, 2e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("some/base", "data", "--distill", "some/base"), "leave BASE and DATASET out"),
        (("some/base",), "expected BASE and DATASET, or --distill BASE"),
        (("some/base", "data", "--images", "x"), "--images goes only with --distill"),
    ],
)
def test_contradictions_on_the_command_line_are_told(given, message, qvec) -> None:
    done = qvec("train", *given, "--out", "out")
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1", True])
def test_the_weight_of_hidden_states_is_a_number(value) -> None:
    with pytest.raises(QVecError, match=r"hidden must be a number of at least 0"):
        DistillRecipe(hidden=value)


def test_layers_of_a_swin_are_watched_too() -> None:
    torch.manual_seed(0)
    config = SwinConfig(image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4)
    model = SwinForImageClassification(config).eval()
    student = copy.deepcopy(model)
    with RECIPES.get("distill").training(student, Grid.parse(GRID), DistillRecipe(), lambda: model) as loss:
        images = torch.randn(4, 3, 32, 32)
        value = loss({"pixel_values": images}, student(images))
        value.backward()
    assert 0 < float(value.detach()) < 4
    assert all(layer.weight.grad is not None for _, layer in backbone_linears(student))
