"""``qvec eval``: the same numbers as in Python, one JSON object, errors of one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

import qvec_hub as qv
from qvec_hub.cli.app import main
from qvec_hub.evaluation.runner import evaluate


@pytest.fixture
def checkpoint(receiver_folder):
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(receiver_folder)
    return receiver_folder


@pytest.fixture
def photos(tmp_path):
    random = np.random.default_rng(0)
    for i in range(30):
        folder = tmp_path / "photos" / f"class_{i % 5}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i:02}.png")
    return tmp_path / "photos"


def run(monkeypatch, capsys, *arguments) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["qvec", "eval", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return ended.value.code or 0, captured.out, captured.err


def test_json(checkpoint, photos, monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, checkpoint, photos, "--json", "--limit", "20", "--reference", checkpoint)
    found = json.loads(out)
    wanted = evaluate(checkpoint, photos, limit=20)
    assert code == 0
    assert len(out.splitlines()) == 1
    assert (found["n"], found["correct"], found["correct_top5"]) == (20, wanted.correct, wanted.correct_top5)
    assert (found["agreed"], found["agreement"]) == (20, 1.0)
    assert (found["model"], found["split"]) == (str(checkpoint), "train")


def test_with_a_vector_on_a_grid(checkpoint, photos, vector_folder, monkeypatch, capsys):
    how = ["--vector", vector_folder, "--weights", "int3", "--scale", "0.5", "--reference", checkpoint]
    _, out, _ = run(monkeypatch, capsys, checkpoint, photos, *how, "--json")
    found = json.loads(out)
    model = qv.from_pretrained(checkpoint, vector=str(vector_folder), weights="int3", scale=0.5)
    wanted = evaluate(model, photos, processor=checkpoint, reference=checkpoint)
    assert (found["correct"], found["agreed"]) == (wanted.correct, wanted.agreed)
    assert (found["vector"], found["weights"], found["scale"]) == (str(vector_folder), "int3", 0.5)


def test_rounded_to_nearest(checkpoint, photos, monkeypatch, capsys):
    how = ["--weights", "int3", "--rounding", "nearest", "--reference", checkpoint]
    _, out, _ = run(monkeypatch, capsys, checkpoint, photos, *how, "--json")
    found = json.loads(out)
    model = qv.from_pretrained(checkpoint, weights="int3", rounding="nearest")
    wanted = evaluate(model, photos, processor=checkpoint, reference=checkpoint)
    assert (found["correct"], found["agreed"]) == (wanted.correct, wanted.agreed)
    assert (found["weights"], found["rounding"]) == ("int3", "nearest")


def test_a_rounding_needs_a_grid(checkpoint, photos, monkeypatch, capsys):
    code, out, err = run(monkeypatch, capsys, checkpoint, photos, "--rounding", "nearest")
    assert (code, out) == (2, "")
    assert "goes only with --weights" in " ".join(err.split())


def test_table(checkpoint, photos, monkeypatch, capsys):
    code, out, err = run(monkeypatch, capsys, checkpoint, photos)
    wanted = evaluate(checkpoint, photos)
    assert code == 0
    lines = [line.split("\t") for line in out.splitlines()]
    assert lines[0] == ["measure", "share", "images"]
    assert lines[1] == ["top-1", f"{100 * wanted.top1:.2f} %", f"{wanted.correct} of 30"]
    assert "images by pil" in " ".join(err.split())


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--split", "val"], "expected a split 'val', found 'train'"),
        (["--image-column", "pic"], "expected images in column 'pic'"),
        (["--device", "nonsense"], "device: expected one of this machine"),
    ],
)
def test_bad_input_ends_in_one_line(checkpoint, photos, monkeypatch, capsys, extra, message):
    code, out, err = run(monkeypatch, capsys, checkpoint, photos, *extra)
    assert (code, out) == (1, "")
    assert err.startswith("qvec: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_no_such_model_or_dataset(checkpoint, photos, tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, capsys, tmp_path / "none", photos)[0] == 1
    assert run(monkeypatch, capsys, checkpoint, tmp_path / "none")[0] == 1


@pytest.mark.parametrize("extra", [["--scale", "2"], ["--limit", "0"], ["--batch-size", "x"]])
def test_bad_usage(checkpoint, photos, monkeypatch, capsys, extra):
    assert run(monkeypatch, capsys, checkpoint, photos, *extra)[0] == 2
