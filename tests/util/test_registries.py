"""Variants from outside of the package, used like its own: in a load, a training, a suite, a report, a command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from datasets import DatasetDict
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification, ViTConfig, ViTForImageClassification, ViTImageProcessorPil

import qvec_hub as qv
from qvec_hub.artifact.encoding import ENCODINGS
from qvec_hub.artifact.encodings.registry import TensorEncoding, encoding
from qvec_hub.backbone.names import backbone_linears
from qvec_hub.bench.baselines.registry import BASELINES
from qvec_hub.bench.context import read_context
from qvec_hub.bench.controls.registry import CONTROLS
from qvec_hub.bench.model_store import Library
from qvec_hub.bench.report.write import write_report
from qvec_hub.bench.runner import run_suite
from qvec_hub.bench.suite import Suite
from qvec_hub.bench.verify import verify
from qvec_hub.cli.variants import HOMES, described
from qvec_hub.grid.quantize import Quantized, dequantize, quantize
from qvec_hub.grid.scale_rules.registry import SCALE_RULES, scale_rule
from qvec_hub.results import row as rows_room
from qvec_hub.results.rows import read_rows, row_files
from qvec_hub.rounding.registry import ROUNDINGS, rounding
from qvec_hub.training.recipes.registry import RECIPES, recipe
from qvec_hub.training.recipes.training_recipe import read_recipe
from qvec_hub.util.registry import Registry
from qvec_hub.vector.merge_methods.registry import MERGE_METHODS, merge_method
from tests.bench.library import a_suite, fill
from tests.training.conftest import TINY, images


@pytest.fixture
def toys() -> Iterator[None]:
    @rounding("floor", "each weight to the next lower code", on_card="downwards")
    def floor(model, grid, pixel_values, *, batch_size, progress) -> dict[str, Quantized]:
        found = {}
        for name, layer in backbone_linears(model):
            nearest = quantize(layer.weight.detach(), grid)
            above = dequantize(*nearest, grid) > layer.weight
            found[name] = nearest._replace(codes=(nearest.codes.int() - above.int()).clamp_min(0).to(torch.uint8))
            layer.weight.data.copy_(dequantize(*found[name], grid))
            progress(1)
        return found

    @scale_rule("half", "half of the largest magnitude")
    def half(units, grid) -> tuple[torch.Tensor, None]:
        return 0.5 * units.abs().amax(dim=1, keepdim=True).clamp_min(1e-8) / grid.qmax, None

    @merge_method("first", "the first vector alone")
    def first(tensors, shares, density) -> torch.Tensor:
        return tensors[0]

    @encoding("f16", "halves of the other kind", bits=16)
    class Float16(TensorEncoding):
        def layout(self, shape):
            return {"": (torch.float16, shape)}

        def encode(self, tensor):
            return {"": tensor.half()}

        def decode(self, parts, shape):
            return parts[""].float()

    yield
    ENCODINGS.remove("f16")
    SCALE_RULES.remove("half")
    ROUNDINGS.remove("floor")
    MERGE_METHODS.remove("first")


def test_variants_from_outside_work_everywhere(toys, receiver, receiver_folder, vector, tmp_path: Path) -> None:
    grid = qv.Grid(bits=2)
    model = qv.from_pretrained(receiver_folder, weights=grid, rounding="floor")
    for name, layer in backbone_linears(model):
        trained = receiver.get_submodule(name).weight
        assert bool((layer.weight.dequantize() <= trained + 1e-6).all()), name
    clipped = qv.from_pretrained(receiver_folder, weights="int3-channel-half", rounding="nearest")
    for name, layer in backbone_linears(clipped):
        trained = receiver.get_submodule(name).weight
        step = 0.5 * trained.abs().amax(dim=1, keepdim=True) / 3
        assert torch.equal(layer.weight.dequantize(), (trained / step).round().clamp(-4, 3) * step), name
    merged = qv.merge([vector, 3 * vector], method="first")
    name = vector.names()[0]
    assert torch.equal(merged[name], vector[name])

    vector.save_pretrained(tmp_path / "halves", encoding="f16")
    halves, name = qv.QuantizationVector.from_pretrained(tmp_path / "halves"), "encoder.layer.1.output.dense.weight"
    assert halves.config.encoding.name == "f16"
    assert torch.equal(halves[name], vector[name].half().float())

    suite = a_suite(
        receivers=["shapes"],
        measure=[
            {"method": "ptq"},
            {"method": "ptq", "grids": ["int2-channel-half"]},
            {"method": "floor"},
            {"method": "proxy_floor"},
            {"method": "qvec", "donors": "others", "merge": "first", "scales": ["unit"]},
        ],
    )
    library, out = Library(tmp_path / "models"), tmp_path / "run"
    fill(library, suite)
    run_suite(suite, out, library.root)
    rows, context = [row for path in row_files([out]) for row in read_rows(path)], read_context([out])
    assert {row.method for row in rows} == {"ptq", "floor", "proxy_floor", "qvec"}
    text = write_report(rows, context, tmp_path / "report").markdown.read_text()
    for label in (
        "RTN on int2-channel-half",
        "floor (receiver's images)",
        "floor on proxy images",
        "first of others",
    ):
        assert label in text
    checks = verify(rows, context=context, suite=suite, library=library)  # by loading them, as everybody does
    assert len(checks) == 5
    assert all(check.reproduces for check in checks), [check.why for check in checks]


@dataclass(frozen=True)
class Followed(qv.TrainingRecipe):
    """`pull` draws the logits towards those of the plain model."""

    name: str = "followed"
    pull: float = 1.0


@pytest.fixture
def followed() -> Iterator[list[torch.Tensor]]:
    """A recipe with a model, a loss and a hyper-parameter of its own; gives the plain heads that it was shown."""
    heads = []

    @recipe("followed", "rounded weights, and the plain model's logits as a second target", parameters=Followed)
    def followed(model, grid, recipe, plain):
        teacher = plain()
        heads.append(teacher.classifier.weight.detach().clone())
        qv.prepare_qat_(model, grid)
        assert not teacher.training
        with torch.no_grad():
            model.classifier.bias += 1  # the cross-entropy does not see this

        def loss(batch, output) -> torch.Tensor:
            with torch.no_grad():
                wanted = teacher(batch["pixel_values"]).logits
            return output.loss + recipe.pull * F.mse_loss(output.logits, wanted)

        yield loss
        qv.strip_qat_(model)

    yield heads
    RECIPES.remove("followed")


QUICK = {"epochs": 1, "learning_rate": 1e-3, "warmup_steps": 0, "batch_size": 4}


@pytest.fixture
def lamps(tmp_path: Path) -> tuple[Path, DatasetDict]:
    """A base in a folder, and images to train a donor with."""
    torch.manual_seed(0)
    ViTForImageClassification(ViTConfig(**TINY, num_labels=3)).save_pretrained(tmp_path / "base")
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path / "base")
    return tmp_path / "base", DatasetDict({"train": images(12, 0), "validation": images(6, 1)})


def test_a_recipe_from_outside_trains_a_donor(followed, lamps, tmp_path: Path) -> None:
    base, dataset = lamps
    ste = qv.train_donor(base, dataset, tmp_path / "ste", grid="int2", recipe=qv.TrainingRecipe(**QUICK))
    much = qv.train_donor(base, dataset, tmp_path / "much", grid="int2", recipe=Followed(**QUICK, pull=100.0))
    fp, same = (load_file(donor.fp / "model.safetensors") for donor in (ste, much))
    assert all(torch.equal(fp[name], same[name]) for name in fp)  # only the second model is trained by the recipe
    plain = AutoModelForImageClassification.from_pretrained(ste.fp)
    rehearsed, trained = followed[0], followed[1]
    assert torch.equal(trained, plain.classifier.weight)
    assert not torch.equal(rehearsed, trained)
    shown = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def distance(donor) -> float:
        model = qv.prepare_qat_(AutoModelForImageClassification.from_pretrained(donor.qat), "int2")
        with torch.no_grad():
            return float(F.mse_loss(model(shown).logits, plain(shown).logits))

    assert distance(much) < 0.7  # about 1 without the recipe's loss
    about = json.loads((much.vector / "qvec_config.json").read_text())["recipe"]
    assert (about["name"], about["pull"]) == ("followed", 100.0)
    assert read_recipe(about) == Followed(**QUICK, pull=100.0)
    assert "pull" not in json.loads((ste.vector / "qvec_config.json").read_text())["recipe"]
    assert "| pull | `100.0` |" in (much.vector / "README.md").read_text()


def test_accumulated_batches_of_a_recipe_from_outside_train_the_same(followed, lamps, tmp_path: Path) -> None:
    whole = Followed(**QUICK, pull=10.0, optimizer="sgd")
    trained = {}
    for parts in (1, 2):
        how = replace(whole, grad_accumulation=parts)
        donor = qv.train_donor(*lamps, tmp_path / str(parts), grid="int2", recipe=how)
        trained[parts] = load_file(donor.qat / "model.safetensors")
    for name, tensor in trained[1].items():
        torch.testing.assert_close(trained[2][name], tensor, rtol=1e-3, atol=1e-5)


def test_a_recipe_from_outside_on_the_command_line(followed, qvec, lamps, tmp_path: Path) -> None:
    base, dataset = lamps
    for number, row in enumerate(dataset["train"]):
        place = tmp_path / "lamps" / str(row["label"]) / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        row["image"].save(place)
    how = ["train", base, "lamps", "--epochs", 1, "--warmup-steps", 0, "--batch-size", 4, "--out", "out"]
    done = qvec(*how, "--recipe", "followed", "--parameter", "pull=0.5", "--json")
    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "out" / "vector" / "qvec_config.json").read_text())["recipe"]
    assert (about["name"], about["pull"], about["epochs"]) == ("followed", 0.5, 1.0)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["recipe"] == about

    for wrong, code, message in [
        (["--recipe", "magic"], 1, "name must be one of 'distill', 'ste', 'followed', found 'magic'"),
        (["--parameter", "pull=0.5"], 1, "unexpected keyword argument 'pull'"),
        (["--parameter", "pull"], 2, "expected NAME=VALUE, found 'pull'"),
    ]:
        done = qvec(*how[:-1], "new", *wrong)
        assert (done.returncode, done.stdout) == (code, "")
        assert message in done.stderr
        assert not (tmp_path / "new").exists()


def test_a_recipe_takes_hyper_parameters_of_its_own_class(followed) -> None:
    with pytest.raises(qv.QVecError, match=r"hyper-parameters of 'followed', found a TrainingRecipe; pass a Followed"):
        qv.TrainingRecipe(name="followed")
    with pytest.raises(qv.QVecError, match="hyper-parameters of 'ste', found a Followed; pass a TrainingRecipe"):
        Followed(name="ste")


def test_a_suite_keeps_the_hyper_parameters_of_a_recipe_from_outside(followed) -> None:
    suite = a_suite(recipe={"name": "followed", "pull": 3.0})
    assert suite.recipe == Followed(pull=3.0)
    assert Suite.model_validate_json(suite.model_dump_json()) == suite


@pytest.mark.parametrize(
    ("decorator", "registry"),
    [
        ("encoding", ENCODINGS),
        ("scale_rule", SCALE_RULES),
        ("rounding", ROUNDINGS),
        ("merge_method", MERGE_METHODS),
        ("recipe", RECIPES),
    ],
)
def test_help_texts_name_what_the_registries_hold(decorator: str, registry: Registry) -> None:
    assert described(decorator) == {variant.name: variant.about for variant in registry}
    assert decorator in HOMES


def test_rows_know_the_same_controls() -> None:
    assert CONTROLS.names() == rows_room.CONTROLS


def test_names_are_taken_once_and_unknown_ones_are_listed() -> None:
    with pytest.raises(ValueError, match="registered already"):
        BASELINES.add(BASELINES.get("awq"))
    with pytest.raises(qv.QVecError, match="'gptq', 'awq', found 'best'"):
        BASELINES.get("best")
    with pytest.raises(qv.QVecError, match="found None"):
        ROUNDINGS.get(None)
