"""qvec train, through the command line's own entry point."""

import json
import sys

import pytest

from qvec_hub.cli.app import main

QUICK = ["--epochs", "1", "--warmup-steps", "0", "--batch-size", "4", "--lr", "1e-3"]


@pytest.fixture
def qvec(monkeypatch, capsys):
    """Run a command line: its exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["qvec", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return (code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def folder(dataset, tmp_path_factory):
    """The dataset as a folder of class folders, which is what people have."""
    root = tmp_path_factory.mktemp("images") / "lamps"
    for split, images in dataset.items():
        names = images.features["label"].names
        for index, row in enumerate(images):
            place = root / split / names[row["label"]]
            place.mkdir(parents=True, exist_ok=True)
            row["image"].save(place / f"{index}.png")
    return root


def test_json_is_the_only_thing_on_stdout(qvec, base, folder, tmp_path):
    code, out, err = qvec("train", base, folder, "--out", tmp_path / "out", "--weights", "int2", *QUICK, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["train_images"] == 22
    assert result["classes"] == 3
    assert set(result["scores"]) == {"fp", "ptq", "own_qat"}
    assert result["scores"]["fp"].keys() == {"n", "correct", "top1"}
    about = json.loads((tmp_path / "out" / "vector" / "qvec_config.json").read_text())
    assert about["donor"]["task"] == "lamps"
    assert about["donor"]["dataset"] is None  # a path of this machine
    assert "qat: step 6 of 6" in err


def test_bad_input_is_one_line(qvec, base, folder, tmp_path):
    code, out, err = qvec("train", base, folder, "--out", tmp_path / "out", "--weights", "int9", *QUICK)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("qvec: grid: bits must be")


def test_both_precisions_are_bad_usage(qvec, base, folder, tmp_path):
    code, _, err = qvec("train", base, folder, "--out", tmp_path / "out", "--bf16", "--fp16")
    assert code == 2
    assert "choose one of --bf16 and --fp16" in err


def test_help_shows_an_example(qvec):
    code, out, _ = qvec("train", "--help")
    assert code == 0
    assert "qvec train google/vit-base-patch16-224-in21k" in " ".join(out.split())
