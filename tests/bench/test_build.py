"""What a suite needs is trained once, shared between grids, and recorded."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ViTForImageClassification, ViTImageProcessor

import qvec_hub.bench.train_models as building
from qvec_hub import QuantizationVector, zoo
from qvec_hub.bench.model_store import Library
from qvec_hub.bench.suite import Suite
from qvec_hub.bench.train_models import build_library, recorded_similarity
from qvec_hub.errors import DataError, QVecError
from qvec_hub.grid.grid import Grid

from .library import BASE, a_suite

GRIDS = ["int2-channel-absmax", "int3-channel-mse"]
RECIPE = {"epochs": 1, "learning_rate": 1e-3, "warmup_steps": 0, "batch_size": 16}


def small(**changes: object) -> Suite:
    values = {"tasks": ["shapes", "counting"], "grids": GRIDS, "recipe": RECIPE, "measure": [{"method": "fp"}]}
    return a_suite(**(values | changes))


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Library:
    library = Library(tmp_path_factory.mktemp("built"))
    assert build_library(small(), library, silent) == 2
    return library


def test_a_vector_is_the_difference_of_its_two_models(built: Library) -> None:
    for grid in map(Grid.parse, GRIDS):
        vector = QuantizationVector.from_pretrained(built.vector(BASE, 0, "shapes", grid))
        fp, qat = (
            ViTForImageClassification.from_pretrained(folder).vit.layernorm.weight
            for folder in (built.fp(BASE, 0, "shapes"), built.qat(BASE, 0, "shapes", grid))
        )
        torch.testing.assert_close(vector["layernorm.weight"], (qat - fp).detach(), rtol=0, atol=0)
        assert vector.config.grid == grid
        assert vector.config.donor.dataset == "zoo:shapes"
        assert vector.config.recipe["epochs"] == 1


def test_grids_share_the_plain_model_and_differ_in_their_twins(built: Library) -> None:
    one, two = (built.qat(BASE, 0, "shapes", Grid.parse(grid)) / "model.safetensors" for grid in GRIDS)
    assert one.read_bytes() != two.read_bytes()
    assert not list(built.root.rglob("checkpoint*")), "nothing but models is left behind"


def test_what_is_finished_is_not_trained_again(built: Library) -> None:
    before = {path: path.stat().st_mtime_ns for path in built.root.rglob("*") if path.is_file()}
    assert build_library(small(), built, silent) == 0
    assert {path: path.stat().st_mtime_ns for path in built.root.rglob("*") if path.is_file()} == before


def test_an_interrupted_build_goes_on(built: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended within the second task, and the same models in the end, one process or several."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # in this process, so that it can be interrupted
    library, train, calls = Library(tmp_path), building._train, []

    def once(suite: Suite, where: Library, job: tuple) -> None:
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(job)
        train(suite, where, job)

    monkeypatch.setattr(building, "_train", once)
    with pytest.raises(KeyboardInterrupt):
        build_library(small(), library, silent)
    monkeypatch.setattr(building, "_train", train)
    assert build_library(small(), library, silent) == 1
    for path in built.root.rglob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / path.relative_to(built.root)).read_bytes(), path


def test_similarity_is_the_mean_best_cosine_of_prototypes(built: Library) -> None:
    model = ViTForImageClassification.from_pretrained(zoo.base_path(BASE), num_labels=2).vit.eval()
    processor = ViTImageProcessor.from_pretrained(zoo.base_path(BASE))
    found = {}
    for task in ("shapes", "counting"):
        images, labels = zoo.arrays(task, "validation", 10)
        with torch.no_grad():
            pixels = processor(list(images), return_tensors="pt")["pixel_values"]
            embedded = model(pixels).last_hidden_state[:, 0].numpy()
        found[task] = np.stack([embedded[labels == label].mean(axis=0) for label in sorted(set(labels))])
    centre = (found["shapes"].mean(axis=0) + found["counting"].mean(axis=0)) / 2

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        a, b = a - centre, b - centre
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    table = np.array([[cosine(a, b) for b in found["counting"]] for a in found["shapes"]])
    best = [*table.max(axis=0), *table.max(axis=1)]
    similarity = recorded_similarity(small(), built, BASE)
    assert similarity is not None
    assert similarity["shapes"]["counting"] == pytest.approx(np.mean(best), abs=1e-3)


def test_a_damaged_record_is_named(built: Library, tmp_path: Path) -> None:
    library = Library(tmp_path)
    path = library.similarity(BASE)
    path.parent.mkdir(parents=True)
    path.write_text("[1")
    with pytest.raises(DataError, match=r"similarity\.json: expected the tasks' similarity"):
        recorded_similarity(small(), library, BASE)
    path.write_text(json.dumps({"shapes": {"shapes": 1}}))
    assert recorded_similarity(small(), library, BASE) is None, "of other tasks"


def test_other_bases_under_trained_models_are_refused(built: Library) -> None:
    with pytest.raises(QVecError, match="expected none of its models"):
        build_library(small(), built, silent, pretrain=True)


def test_another_recipe_in_the_folder_is_refused(built: Library, tmp_path: Path) -> None:
    other = small(grids=["int4"], recipe=RECIPE | {"learning_rate": 1e-4})
    with pytest.raises(QVecError, match="resume"):
        build_library(other, built, silent)
