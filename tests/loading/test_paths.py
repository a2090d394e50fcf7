"""Folders by whatever name: for vectors and receivers, loading and saving, in Python and on the command line."""

import copy
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageClassification

import qvec_hub as qv
from qvec_hub.hub_search.declared_base import DeclaredBase
from qvec_hub.training.start import starting_model

NAMES = [
    "a@b",
    "@v1",
    "x [1] * {2}",
    "ünïcode 模型",
    "#h%20",
    "-dash",
    "with space",
    "q?x=1&y",
    "trailing.dot.",
    'quote\'s "here"',
    "models/vit",
    "a/b@refs/pr/1",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_folder(name: str, receiver, vector, tmp_path: Path, monkeypatch, pixels) -> None:
    """By a relative path, an absolute one, one with a slash at the end, and a pathlib.Path."""
    monkeypatch.chdir(tmp_path)
    receiver.save_pretrained(tmp_path / "r" / name)
    vector.save_pretrained(f"v/{name}")
    loaded = [
        qv.from_pretrained(source, vector=donor, weights="int3", rounding="nearest")
        for source, donor in [
            (f"r/{name}", f"v/{name}"),
            (f"{tmp_path}/r/{name}/", f"{tmp_path}/v/{name}/"),
            (Path("r", name), Path("v", name)),
        ]
    ]
    expected = qv.quantize_(qv.patch_(copy.deepcopy(receiver), vector), "int3")(pixels).logits
    for model in loaded:
        assert torch.equal(model(pixels).logits, expected)
    loaded[0].save_pretrained(f"out/{name}")
    assert torch.equal(qv.from_pretrained(f"out/{name}/")(pixels).logits, expected)


@pytest.mark.parametrize("name", ["a@b", "x [1] *", "ünï", "with space", "#h%20"])
def test_any_name_on_the_command_line(name: str, qvec, receiver, vector, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    receiver.save_pretrained(tmp_path / "r" / name)
    vector.save_pretrained(f"v/{name}")
    out = json.loads(
        qvec(
            "apply", f"r/{name}", "--vector", f"v/{name}", "--rounding", "nearest", "--out", f"out/{name}", "--json"
        ).stdout
    )
    assert Path(out["out"], "model.safetensors").exists()
    assert json.loads(qvec("info", f"v/{name}", "--receiver", f"r/{name}", "--json").stdout)["receiver"]["fits"] is True


def test_a_home_and_a_name_that_starts_like_an_option(receiver, vector, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    receiver.save_pretrained(tmp_path / "r")
    vector.save_pretrained("~/v")
    assert (tmp_path / "v" / "qvec.safetensors").exists()
    model = qv.from_pretrained("~/r", vector="~/v", weights="int3", rounding="nearest")
    assert model.config.quantization_config.scale == 1.0


NONE = [
    b"models/vit",
    5,
    None,
    "",
    " ",
    "./nowhere",
    "~nobody-of-that-name/x",
    "C:\\models\\vit",
    "C:/models/vit",
    "models\\vit",
    "org/name/",
    "a/b/c@d",
    "org/na me",
    "hf://",
    "hf://datasets/a/b",
    "org/name@",
    "org/name@a b",
    "\0",
    "x" * 5000,
]
ENTRIES = {
    "from_pretrained": qv.from_pretrained,
    "vector": qv.QuantizationVector.from_pretrained,
    "finetuned": lambda source: qv.QuantizationVector.extract(source, source),
    "evaluate": lambda source: qv.evaluate(source, "zoo:shapes"),
    "train": lambda source: starting_model(source, ["a", "b"], 0),
    "search": lambda source: DeclaredBase(source, None),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("source", NONE, ids=lambda source: repr(source)[:20])
def test_what_names_nothing(entry: str, source, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(qv.QVecError) as caught:
        ENTRIES[entry](source)
    assert "Traceback" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_relative_path_is_never_a_repository(base, finetuned, qat, tmp_path: Path, monkeypatch) -> None:
    """Loaded from a path that looks like a repo id, and used when the working directory is another one."""
    monkeypatch.chdir(tmp_path)
    for name, model in [("base", base), ("fp", finetuned), ("qat", qat)]:
        model.save_pretrained(f"models/{name}")
    load = AutoModelForImageClassification.from_pretrained
    theirs = {name: load(f"models/{name}") for name in ("base", "fp", "qat")}
    ours = {name: qv.from_pretrained(f"models/{name}") for name in ("base", "fp", "qat")}
    plugin = load("models/fp", quantization_config=qv.QVecConfig(None, "int3", rounding="nearest"))
    loaded = qv.from_pretrained("models/fp", weights="int3", rounding="nearest")
    monkeypatch.chdir("/")
    for models in (theirs, ours):
        vector = qv.QuantizationVector.extract(models["fp"], models["qat"], models["base"])
        vector.save_pretrained(tmp_path / "vector")
        assert "models/" not in (tmp_path / "vector" / "qvec_config.json").read_text()
        assert "models/" not in (tmp_path / "vector" / "README.md").read_text()
    for model in (plugin, loaded, qv.quantize_(theirs["qat"], "int3")):
        model.save_pretrained(tmp_path / "model")
        assert json.loads((tmp_path / "model" / "config.json").read_text())["quantization_config"]["receiver"] == {
            "repo_id": None,
            "revision": None,
        }


def test_a_local_dataset_is_never_a_repository(finetuned, qat, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data/flowers").mkdir(parents=True)
    for dataset in ("data/flowers", "./data/flowers", str(tmp_path / "data" / "flowers"), "C:\\data\\flowers"):
        with pytest.warns(UserWarning, match="a path of this machine"):
            vector = qv.QuantizationVector.extract(finetuned, qat, donor={"task": "flowers", "dataset": dataset})
        assert vector.config.donor.dataset is None
    vector = qv.QuantizationVector.extract(finetuned, qat, donor={"dataset": "tanganke/eurosat"})
    assert vector.config.donor.dataset == "tanganke/eurosat"
