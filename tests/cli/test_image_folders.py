"""Folders of images through the commands: what cannot be matched or read is one line and exit code 1."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PROCESSOR = {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}}
CLASSES = ["ant", "bee", "cat", "dog", "emu"]


@pytest.fixture
def model(receiver, tmp_path) -> Path:
    receiver.config.id2label = dict(enumerate(CLASSES))
    receiver.config.label2id = {name: i for i, name in enumerate(CLASSES)}
    receiver.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return tmp_path / "model"


def photos(root: Path, classes: list[str]) -> Path:
    for i, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        noise = np.random.default_rng(i).integers(0, 256, (18, 20, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / name / f"{i}.jfif", format="JPEG")
    return root


def test_eval_matches_names_or_says_what_to_do(qvec, model, tmp_path) -> None:
    counts = []
    for folder, classes in {"p[1]": CLASSES, "q*": [name.upper() for name in reversed(CLASSES)]}.items():
        done = qvec("eval", model, photos(tmp_path / folder, classes), "--json")
        assert done.returncode == 0, done.stderr
        counts.append(json.loads(done.stdout)["n"])
    assert counts == [5, 5]
    done = qvec("eval", model, photos(tmp_path / "other", ["v", "w", "x", "y", "z"]))
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be matched" in done.stderr
    assert "id2label" in done.stderr
    assert "Traceback" not in done.stderr


def test_images_of_apply_and_extract(qvec, model, vector, base, finetuned, qat, tmp_path) -> None:
    folder = photos(tmp_path / "-dash #1", CLASSES)
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._0.jfif").write_bytes(b"\x00\x05\x16\x07")
    (folder / "ant" / "x.heic").write_bytes(b"?")
    for name, each in {"fp": finetuned, "qat": qat}.items():
        each.save_pretrained(tmp_path / name)
    for command in (
        ("extract", "fp", "qat", "--images", folder, "--image-count", "3", "--out", "vector", "--json"),
        ("apply", model, "--rounding", "gptq", "--images", folder, "--out", "out", "--json"),
    ):
        with pytest.warns(UserWarning, match=r"1 file \('x.heic'\) left out"):
            done = qvec(*command)
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["watched"] == "own_images"
    (tmp_path / "empty").mkdir()
    for images in ("empty", "missing", "~nobody-of-that-name"):
        done = qvec("apply", model, "--rounding", "gptq", "--images", images, "--out", "out2")
        assert (done.returncode, "Traceback" in done.stderr, (tmp_path / "out2").exists()) == (1, False, False)
