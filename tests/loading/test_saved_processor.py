"""The image processor travels with a model: saved and pushed with it, byte for byte as it was."""

import copy
import io
import json
import pickle
import warnings
from pathlib import Path

import PIL.Image
import pytest
import torch
from transformers import AutoModelForImageClassification, ViTImageProcessor, pipeline

import qvec_hub as qv

NAME = "preprocessor_config.json"


@pytest.fixture
def folder(receiver_folder: Path) -> Path:
    """A receiver with its processor, whose file nobody else would write like this."""
    ViTImageProcessor(size={"height": 16, "width": 16}, image_mean=[0.1, 0.2, 0.3]).save_pretrained(receiver_folder)
    values = json.loads((receiver_folder / NAME).read_text())
    (receiver_folder / NAME).write_text(json.dumps({"note": "mine", **values}, indent=7) + "\n\n")
    return receiver_folder


def in_memory(folder: Path):
    return qv.quantize_(AutoModelForImageClassification.from_pretrained(folder), "int3")


WAYS = {
    "ours": lambda folder: qv.from_pretrained(folder, weights="int3", rounding="nearest"),
    "float": lambda folder: qv.from_pretrained(folder),
    "transformers": lambda folder: AutoModelForImageClassification.from_pretrained(
        folder, quantization_config=qv.QVecConfig(None, "int3", rounding="nearest")
    ),
    "in memory": in_memory,
    "deep copy": lambda folder: copy.deepcopy(qv.from_pretrained(folder, weights="int3", rounding="nearest")),
    "pickle": lambda folder: pickle.loads(pickle.dumps(qv.from_pretrained(folder, weights="int3", rounding="nearest"))),
    "torch": lambda folder: torch_round_trip(qv.from_pretrained(folder, weights="int3", rounding="nearest")),
}


def torch_round_trip(model):
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=False)


@pytest.mark.parametrize("way", WAYS)
def test_saved_with_the_model(way: str, folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder.parent)
    model = WAYS[way](folder.name)  # by a relative path, and saved from elsewhere
    monkeypatch.chdir("/")
    model.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / NAME).read_bytes() == (folder / NAME).read_bytes()
    again = qv.from_pretrained(tmp_path / "saved")
    again.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / NAME).read_bytes() == (folder / NAME).read_bytes()


def test_the_lines_of_the_readme(folder: Path, vector, tmp_path: Path) -> None:
    model = qv.from_pretrained(folder, vector=vector, weights="int3", rounding="nearest")
    model.save_pretrained(tmp_path / "saved")
    classify = pipeline("image-classification", model=str(tmp_path / "saved"))
    image = PIL.Image.new("RGB", (40, 30), (200, 10, 100))
    processor = ViTImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        best = model(**processor(image, return_tensors="pt")).logits.softmax(-1).max()
    assert abs(classify(image)[0]["score"] - float(best)) < 1e-6


PUSHED: list[object] = []


def note_push(model: object, repo: str, **options: object) -> None:
    """In the place of a push; a function of a module, so that a model that holds it can be pickled."""
    PUSHED.append(model)


@pytest.mark.parametrize("way", ["deep copy", "pickle", "torch"])
def test_a_copy_saves_and_pushes_itself(way: str, folder: Path, tmp_path: Path, monkeypatch) -> None:
    PUSHED.clear()
    monkeypatch.setattr("qvec_hub.loading.record.push_model", note_push)
    model = WAYS[way](folder)
    with torch.no_grad():
        model.classifier.bias += 1
    model.save_pretrained(tmp_path / "saved", push_to_hub=True, repo_id="me/x")
    assert [model] == PUSHED
    assert torch.equal(qv.from_pretrained(tmp_path / "saved").classifier.bias, model.classifier.bias)


def test_one_that_somebody_saved_stays(folder: Path, tmp_path: Path) -> None:
    model = qv.from_pretrained(folder, weights="int3", rounding="nearest")
    theirs = ViTImageProcessor(size={"height": 16, "width": 16}, image_mean=[0.9, 0.9, 0.9])
    theirs.save_pretrained(tmp_path / "theirs")
    before = (tmp_path / "theirs" / NAME).read_bytes()
    with pytest.warns(UserWarning, match=f"keeps its {NAME}, which differs"):
        model.save_pretrained(tmp_path / "theirs")
    assert (tmp_path / "theirs" / NAME).read_bytes() == before
    with warnings.catch_warnings():  # the same one, written in transformers' own way
        warnings.simplefilter("error")
        ViTImageProcessor.from_pretrained(folder).save_pretrained(tmp_path / "same")
        model.save_pretrained(tmp_path / "same")


def test_a_receiver_without_one(receiver_folder: Path, tmp_path: Path) -> None:
    qv.from_pretrained(receiver_folder, weights="int3", rounding="nearest").save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved" / NAME).exists()


def test_a_target_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    model = qv.from_pretrained(folder, weights="int3", rounding="nearest")
    (tmp_path / "file").write_text("mine")
    for target in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(qv.ArtifactError, match=f"{tmp_path}/file"):
            model.save_pretrained(target)
    assert (tmp_path / "file").read_text() == "mine"


def test_pushed_with_the_model(hub, folder: Path) -> None:
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.seed("bob/vit", files, private=True)
    model = qv.from_pretrained("bob/vit", weights="int3", token="hf_bob", rounding="nearest")
    model.push_to_hub("alice/vit-int3")
    assert hub.files("alice/vit-int3")[NAME] == files[NAME]
    qv.from_pretrained("bob/vit", token="hf_bob").push_to_hub("alice/float")
    assert hub.files("alice/float")[NAME] == files[NAME]
