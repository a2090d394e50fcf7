"""Probes beside fine-tunes: the base itself with a fitted head is a receiver of its own, helped by others' vectors."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import ViTForImageClassification, ViTImageProcessor

import qvec_hub.bench.train_models as building
from qvec_hub import zoo
from qvec_hub.bench import build_cost
from qvec_hub.bench.cells import cells
from qvec_hub.bench.context import read_context
from qvec_hub.bench.model_store import Library, receiver_name
from qvec_hub.bench.report.heatmap import draw_heatmap
from qvec_hub.bench.report.treatments import measured
from qvec_hub.bench.report.write import write_report
from qvec_hub.bench.runner import open_run, run_suite
from qvec_hub.bench.stats.transfer import ceilings, transfers
from qvec_hub.bench.suite import Suite
from qvec_hub.bench.train_models import build_library
from qvec_hub.bench.verify import verify
from qvec_hub.errors import ArtifactError, QVecError
from qvec_hub.training import head

from .library import BASE, a_suite

TASKS = ("shapes", "counting")
MEASURE = [
    {"method": "fp"},
    {"method": "ptq"},
    {"method": "own_qat"},
    {"method": "gptq"},
    {"method": "qvec", "donors": "each", "scales": ["unit", "validation"], "controls": ["random", "task_vector"]},
    {"method": "qvec", "donors": "others", "merge": "mean", "scales": [0.5], "controls": ["random"]},
]  # fmt: skip


def both(**changes: object) -> Suite:
    values = {
        "tasks": list(TASKS),
        "kinds": ["probe", "fine-tune"],
        "images": {"train": 60, "validation": 20, "test": 40, "calibration": 16},
        "recipe": {"epochs": 1, "learning_rate": 1e-3, "warmup_steps": 0, "batch_size": 30, "head": "probe"},
        "measure": MEASURE,
    }
    return a_suite(**(values | changes))


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def finished(alone: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the suite, with its models in ``models``."""
    out = tmp_path_factory.mktemp("kinds")
    run_suite(both(), out)
    return out


@pytest.fixture(autouse=True, scope="module")
def alone() -> Iterator[None]:
    """Train in this process: that begins sooner, and can be watched and interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        yield


def test_a_probe_has_the_fine_tune_s_cells_but_no_twin() -> None:
    found = {kind: [cell for cell in cells(both()) if cell.kind == kind] for kind in ("probe", "fine-tune")}
    assert len(found["fine-tune"]) == len(found["probe"]) + len(TASKS)
    assert {cell.method for cell in found["probe"]} == {"fp", "ptq", "gptq", "qvec"}
    assert {cell.key[0] for cell in found["probe"]} == {"zoo-xs-shapes-probe", "zoo-xs-counting-probe"}
    merged = {cell.receiver: cell.donors for cell in found["probe"] if cell.merge}
    assert merged == {"shapes": ("counting",), "counting": ("shapes",)}, "none of the receiver's own task"


def test_fine_tunes_are_what_a_suite_means_unless_it_says_more() -> None:
    assert {cell.kind for cell in cells(a_suite())} == {"fine-tune"}


@pytest.mark.parametrize("task", TASKS)
def test_a_probe_s_backbone_is_the_base_bit_by_bit(finished: Path, task: str) -> None:
    base = load_file(zoo.base_path(BASE) / "model.safetensors")
    probe = load_file(Library(finished / "models").probe(BASE, 0, task) / "model.safetensors")
    assert {name for name in probe if name not in base} == {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(probe[name], tensor) for name, tensor in base.items())


def test_rows_count_what_transformers_own_model_predicts(finished: Path) -> None:
    rows, _, _ = open_run(finished)
    for kind in ("probe", "fine-tune"):
        for task in TASKS:
            folder = Library(finished / "models").receiver(BASE, 0, task, kind)  # type: ignore[arg-type]
            model = ViTForImageClassification.from_pretrained(folder).eval()
            images, labels = zoo.arrays(task, "test", 40)
            pixels = ViTImageProcessor.from_pretrained(folder)(list(images), return_tensors="pt")["pixel_values"]
            with torch.no_grad():
                right = (model(pixels).logits.argmax(dim=1) == torch.from_numpy(labels)).sum().item()
            (row,) = [r for r in rows if r.receiver == receiver_name(BASE, task, kind) and r.method == "fp"]  # type: ignore[arg-type]
            assert (row.correct, row.n) == (right, 40)
            assert right > 40 / len(set(labels.tolist())), "better than chance"


def test_every_cell_has_one_row_and_every_row_reproduces(finished: Path) -> None:
    rows, context, suite = open_run(finished)
    assert len(rows) == len(cells(both()))
    checks = verify(rows, context=context, library=Library(finished / "models"), suite=suite)
    assert [check.why for check in checks if not check.reproduces] == []


def test_kinds_are_receivers_of_their_own_in_statistics(finished: Path) -> None:
    rows, context, _ = open_run(finished)
    known = read_context([finished])
    assert (known.receivers["zoo-xs-shapes-probe"].task, known.receivers["zoo-xs-shapes-probe"].kind) == (
        "shapes",
        "probe",
    )
    assert known.receivers["zoo-xs-shapes"].kind == "fine-tune"
    found = transfers(rows, context)
    assert all(transfer.donor_task not in (None, transfer.task) for transfer in found if transfer.row.method == "qvec")
    assert {transfer.receiver for transfer in found} == {"shapes", "shapes-probe", "counting", "counting-probe"}
    own = [transfer for transfer in ceilings(rows, context) if transfer.kind == "probe"]
    assert {(transfer.task, transfer.donor_task) for transfer in own} == {(task, task) for task in TASKS}
    random = [transfer for transfer in found if transfer.row.control == "random" and transfer.row.merge is None]
    shapes = [transfer.row.receiver for transfer in random if transfer.task == "shapes"]
    assert len(set(shapes)) == 2


def test_a_report_shows_each_receiver(finished: Path, tmp_path: Path) -> None:
    rows, context, suite = open_run(finished)
    figure = draw_heatmap(measured(rows, context), BASE, "int2-channel-mse")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["counting", "counting-probe", "shapes", "shapes-probe"]
    (shown,) = figure.axes[0].images
    hidden = np.ma.getmaskarray(np.ma.masked_invalid(shown.get_array()))
    assert hidden.tolist() == [[True, False], [True, False], [False, True], [False, True]], "own tasks are ceilings"
    write_report(rows, context, tmp_path, suite)
    assert "| receivers | 4 |" in (tmp_path / "report.md").read_text()


def test_features_of_a_task_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For its probe, and not again for the two fine-tunes that start from the same head."""
    calls, features = [], head._features
    monkeypatch.setattr(head, "_features", lambda *args: calls.append(1) or features(*args))
    library = Library(tmp_path)
    build_library(both(), library, silent)
    assert len(calls) == len(TASKS)


def test_the_shared_head_gives_the_same_models_as_one_fitted_anew(finished: Path, tmp_path: Path) -> None:
    library = Library(tmp_path)
    build_library(both(kinds=["fine-tune"]), library, silent)
    for path in tmp_path.rglob("*.safetensors"):
        assert path.read_bytes() == (finished / "models" / path.relative_to(tmp_path)).read_bytes(), path


def test_probes_alone_need_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "train_donors", lambda *args, **options: pytest.fail("nothing to train"))
    suite = both(kinds=["probe"], measure=[{"method": "fp"}, {"method": "ptq"}])
    assert build_library(suite, Library(tmp_path), silent) == 2
    assert build_library(suite, Library(tmp_path), silent) == 0


def test_an_interrupted_build_keeps_its_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, train = Library(tmp_path), building.train_donors

    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "train_donors", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_library(both(), library, silent)
    probe = library.probe(BASE, 0, "shapes") / "model.safetensors"
    before = probe.stat().st_mtime_ns
    monkeypatch.setattr(building, "train_donors", train)
    assert build_library(both(), library, silent) == 2
    assert probe.stat().st_mtime_ns == before
    assert all(library.vector(BASE, 0, task, both().grids[0]).is_dir() for task in TASKS)


def test_a_disk_that_fills_leaves_no_half_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, folder: Path, **options: object) -> None:
        Path(folder, "model.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ViTForImageClassification, "save_pretrained", full)
    with pytest.raises(ArtifactError, match=r"probe.* cannot be written .*No space left on device"):
        build_library(both(), Library(tmp_path), silent)
    assert not list(tmp_path.rglob("model.safetensors"))


def test_a_probe_of_other_classes_is_named(finished: Path, tmp_path: Path) -> None:
    library = Library(tmp_path)
    build_library(both(kinds=["probe"], tasks=["shapes"], measure=[{"method": "fp"}]), library, silent)
    library.probe(BASE, 0, "shapes").rename(tmp_path / "moved")
    library.probe(BASE, 0, "counting").parent.mkdir(parents=True)
    (tmp_path / "moved").rename(library.probe(BASE, 0, "counting"))
    with pytest.raises(ArtifactError, match=r"counting/probe': expected a base with a head fitted to the same task"):
        build_library(both(tasks=["counting"]), library, silent)


def test_what_a_build_costs_is_said_first(tmp_path: Path) -> None:
    """2 tasks of a probe, a plain model and a twin, and a vector; 60 images seen by each of 4 trainings."""
    said: list[str] = []
    build_library(both(), Library(tmp_path), said.append)
    (cost,) = [line for line in said if "models and" in line]
    assert cost.startswith("6 models and 2 vectors to make: 240 images, about ")
    held = (zoo.base_path(BASE) / "model.safetensors").stat().st_size
    assert f"{8 * held / 1e6:,.0f} MB on the disk" in cost


def test_time_is_that_of_the_batches_to_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """60 images are two batches: 2 × (3 + 4) s of training and 2 × 1 s of features for each of two tasks."""
    speed = build_cost._Speed(1.0, {None: 3.0, "int2-channel-mse": 4.0}, 1_000_000)
    monkeypatch.setattr(build_cost, "_timed", lambda *args: speed)
    missing = build_cost.needs(both(), Library(tmp_path))
    for workers, checkpoints, seconds, size in ((1, False, 32, 8), (2, True, 16, 14)):
        cost = build_cost.cost_of(
            both(), Library(tmp_path), missing, torch.device("cpu"), workers, checkpoints=checkpoints
        )
        assert (cost.seconds, cost.bytes) == (seconds, size * 1_000_000)
    hub = both(tasks=[{"name": "a", "dataset": "org/a"}], images={"test": 3})
    unknown = build_cost.cost_of(hub, Library(tmp_path), build_cost.needs(hub, Library(tmp_path)), torch.device("cpu"),
                                 1, checkpoints=True)  # fmt: skip
    assert (unknown.images, unknown.seconds, unknown.models) == (None, None, 3)
    assert "as many images as their datasets hold, 7 MB on the disk" in str(unknown)


def test_a_build_that_the_disk_has_no_room_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr("qvec_hub.util.disk.shutil.disk_usage", lambda place: usage)
    with pytest.raises(QVecError, match=r"expected 6.7 MB of room for 6 models and 2 vectors, found 1.0 MB free"):
        build_library(both(), Library(tmp_path / "new"), silent)
    assert not (tmp_path / "new").exists()


def test_suites_written_before_there_were_kinds_are_the_same(finished: Path, tmp_path: Path) -> None:
    """A run's folder whose suite lacks the newer keys goes on; one with other kinds is another suite."""
    plain = both(kinds=["fine-tune"])
    run_suite(plain, tmp_path, finished / "models")
    values = json.loads((tmp_path / "suite.json").read_text())
    del values["kinds"], values["image_size"]
    (tmp_path / "suite.json").write_text(json.dumps(values))
    assert run_suite(plain, tmp_path, finished / "models").new == 0
    with pytest.raises(QVecError, match="expected the suite small"):
        run_suite(both(), tmp_path, finished / "models")
