"""Anchors from a Hub, by the command line: what is fetched, and what is said when something is missing."""

from __future__ import annotations

import errno
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub as hf
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from PIL import Image

from qvec_hub import DataError
from qvec_hub.bench.anchors.classes import check_classes, imagenet_classes

from ..conftest import tiny_config
from .anchors import SYNSETS, anchor_suite, image_folder, timm_files, timm_folder

pytestmark = pytest.mark.usefixtures("quick_rounding")
MODEL, DATASET = "timm/vit_tiny.in1k", "ILSVRC/tiny-1k"
CARD = b"""---
dataset_info:
  features: [{name: image, dtype: image}, {name: label, dtype: string}]
  splits: [{name: train, num_examples: 90, num_bytes: 9}, {name: validation, num_examples: 12, num_bytes: 9}]
---
"""


def parquet(count: int, brightness: int) -> bytes:
    image = io.BytesIO()
    Image.new("RGB", (20, 24), (brightness, 100, 100)).save(image, "png")
    names = [SYNSETS[number % 3] for number in range(count)]
    rows = {"image": [{"bytes": image.getvalue(), "path": None}] * count, "label": names}
    out = io.BytesIO()
    pq.write_table(pa.table(rows), out)
    return out.getvalue()


@pytest.fixture
def seeded(hub: Any, tmp_path: Path) -> Path:
    """A suite in a file, of a model and images on the hub."""
    hub.seed(MODEL, timm_files(0))
    files = {f"data/train-0000{number}-of-00009.parquet": parquet(10, number) for number in range(9)}
    files |= {"data/validation-00000-of-00001.parquet": parquet(12, 200), "README.md": CARD}
    hub.seed(DATASET, files, repo_type="dataset")
    patterns = {"train": "data/train-0000[0-1]-of-*.parquet", "validation": "data/validation-*.parquet"}
    images = {"dataset": DATASET, "files": patterns, "calibration": 7}
    path = tmp_path / "mine.yaml"
    path.write_text(anchor_suite([MODEL], DATASET, images=images).model_dump_json(exclude_none=True))
    return path


def words(text: str) -> str:
    return " ".join(text.split())


def test_from_the_hub_to_verified_rows(qvec: Callable, hub: Any, seeded: Path) -> None:
    def fetched() -> set[str]:
        paths = (record.path for record in hub.requests if record.method == "GET")
        return {found[0] for path in paths if (found := re.search(r"(train|validation)-\d+", path))}

    first = qvec("bench", "anchors", seeded, "--out", "run", "--data-free")
    assert first.returncode == 0, first.stderr
    assert "5 rows counted now, 5 of 5 in all" in first.stdout
    assert "converting timm/vit_tiny.in1k" in first.stderr
    assert fetched() == {"validation-00000"}
    whole = qvec("bench", "anchors", seeded, "--out", "run")
    assert "2 rows counted now, 7 of 7 in all" in whole.stdout, whole.stderr
    assert fetched() == {"validation-00000", "train-00000", "train-00001"}
    assert Path("run/anchors.md").is_file()
    rows = Path("run/rows.jsonl").read_text()
    for commit in (hf.model_info(MODEL).sha, hf.dataset_info(DATASET).sha):
        assert rows.count(f'"{commit}"') == 7
    again = qvec("bench", "verify", "run", "--sample", 7)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("reproduces") == 7


def test_no_network(qvec: Callable, hub: Any, seeded: Path) -> None:
    hub.stop()
    done = qvec("bench", "anchors", seeded, "--out", "run")
    assert done.returncode == 1
    assert f"{MODEL}: config.json could not be fetched from the Hub" in done.stderr
    assert "check the network" in done.stderr


def test_no_network_for_the_images(qvec: Callable, hub: Any, seeded: Path, tmp_path: Path) -> None:
    assert qvec("bench", "anchors", seeded, "--out", "other", "--images", image_folder(tmp_path / "i"),
                "--models", "m", "--estimate").returncode == 0  # fmt: skip
    hub.stop()
    done = qvec("bench", "anchors", seeded, "--out", "run", "--models", "m")
    assert done.returncode == 1
    assert "found no connection and nothing in the cache" in done.stderr
    assert "images that lie on this machine go with --images" in words(done.stderr)


def test_a_gated_dataset_without_a_token(qvec: Callable, hub: Any, seeded: Path) -> None:
    hub.seed(DATASET, {}, gated="manual", repo_type="dataset")
    done = qvec("bench", "anchors", seeded, "--out", "run")
    assert done.returncode == 1
    assert f"ask for access on the page of {DATASET}, then log in with `hf auth login` or pass --token" in done.stderr
    assert not Path("run/rows.jsonl").exists()


def test_a_model_that_does_not_exist(qvec: Callable, hub: Any, seeded: Path) -> None:
    seeded.write_text(seeded.read_text().replace(MODEL, "timm/nothing"))
    done = qvec("bench", "anchors", seeded, "--out", "run")
    assert done.returncode == 1
    assert "timm/nothing: config.json could not be fetched" in done.stderr
    assert "no such repository" in done.stderr


def test_a_full_disk(qvec: Callable, seeded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("datasets.builder.has_sufficient_disk_space", lambda needed, directory: False)
        done = qvec("bench", "anchors", seeded, "--out", "run")
        assert done.returncode == 1
        assert "free some space, or set HF_HOME to a folder on another disk" in done.stderr

    def full(self: object, folder: Path, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", full)
    done = qvec("bench", "anchors", seeded, "--out", "other")
    assert done.returncode == 1
    assert "other/models/vit_tiny.in1k/model: cannot be written" in done.stderr
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        (["cat", "dog"], 1000, "expected the model's classes ('tench, Tinca tinca', "),
        ([*SYNSETS, "n99999999"], 1000, "names the model does not know ('n99999999')"),
        (["cat", "dog"], 12, "expected the 12 classes of the model's head, found 2 ('cat', 'dog')"),
    ],
)
def test_images_of_other_classes(qvec: Callable, tmp_path: Path, names: list[str], classes: int, message: str) -> None:
    suite = anchor_suite([timm_folder(tmp_path / "vit.tiny", 0, classes)], image_folder(tmp_path / "images", names))
    (tmp_path / "mine.yaml").write_text(suite.model_dump_json(exclude_none=True))
    done = qvec("bench", "anchors", "mine.yaml", "--out", "run")
    assert done.returncode == 1
    assert message in words(done.stderr)
    assert "vit.tiny: dataset: " in words(done.stderr)


def test_imagenets_names_are_taken_in_their_order_alone() -> None:
    def images(names: list[str]) -> Dataset:
        features = Features({"image": Value("null"), "label": ClassLabel(names=names)})
        return Dataset.from_dict({"image": [None] * 2, "label": [0, len(names) - 1]}, features=features)

    synsets, lemmas = imagenet_classes()
    unique = [f"{name}, the second" if name in lemmas[:place] else name for place, name in enumerate(lemmas)]
    first = [
        name.partition(",")[0] + ("" if lemmas.index(name) == place else " 2") for place, name in enumerate(lemmas)
    ]
    first = [f"{name} {place}" if name in first[:place] else name for place, name in enumerate(first)]
    for names in (synsets, synsets[5:50], unique, first):
        check_classes(tiny_config(num_labels=1000), images(names), "vit")
    with pytest.raises(DataError, match=r"found 99\d of 1000 others \('goldfish"):
        check_classes(tiny_config(num_labels=1000), images([*unique[1:], unique[0]]), "vit")


def test_a_changed_model_is_not_counted(qvec: Callable, tmp_path: Path) -> None:
    suite = anchor_suite([timm_folder(tmp_path / "vit.tiny")], image_folder(tmp_path / "images"))
    (tmp_path / "mine.yaml").write_text(suite.model_dump_json(exclude_none=True))
    assert qvec("bench", "anchors", "mine.yaml", "--out", "run", "--estimate").returncode == 0
    weights = tmp_path / "run/models/vit.tiny/model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    done = qvec("bench", "anchors", "mine.yaml", "--out", "run")
    assert done.returncode == 1
    assert "remove the folder to convert it again" in done.stderr
