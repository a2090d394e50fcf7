"""A base with a fitted head is saved whole, without a change to its backbone, or not at all."""

from __future__ import annotations

import pytest
import torch
from datasets import DatasetDict
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification, ViTForImageClassification

from qvec_hub import ArtifactError, DataError, QVecError
from qvec_hub.training.head import fit_head_
from qvec_hub.training.pixels import Pixels
from qvec_hub.training.probe import take_head_, train_probe

from .conftest import images


def test_a_probe_is_the_base_under_the_fitted_head(base, processor, tmp_path):
    data = images(60, 0)
    folder = train_probe(base, DatasetDict(train=data), tmp_path / "probe")
    saved, pretrained = (load_file(each / "model.safetensors") for each in (folder, base))
    assert all(torch.equal(saved[f"vit.{name}"], tensor) for name, tensor in pretrained.items())
    assert len(saved) == len(pretrained) + 2
    model = ViTForImageClassification.from_pretrained(base, num_labels=3)
    fit_head_(model, Pixels(data, processor, "images"))
    assert torch.equal(saved["classifier.weight"], model.classifier.weight)
    model = AutoModelForImageClassification.from_pretrained(folder)
    assert list(model.config.id2label.values()) == data.features["label"].names
    assert (folder / "preprocessor_config.json").is_file()


def test_one_that_is_there_is_left_as_it_is(base, tmp_path):
    (tmp_path / "probe").mkdir()
    assert train_probe(base, DatasetDict(train=images(60, 0)), tmp_path / "probe") == tmp_path / "probe"
    assert not list((tmp_path / "probe").iterdir())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: images(60, 0).select([]), "split 'train': expected images, found no rows"),
        (lambda: images(60, 0).filter(lambda row: row["label"] == 0), "at least two classes"),
    ],
)
def test_images_that_nothing_is_learned_from_are_refused(base, tmp_path, data, message):
    with pytest.raises(DataError, match=message):
        train_probe(base, DatasetDict(train=data()), tmp_path / "probe")
    assert not (tmp_path / "probe").exists()


def test_pixels_of_another_size_are_refused(tiny_vit, processor, tmp_path):
    tiny_vit.save_pretrained(tmp_path / "base")
    processor.size = {"height": 2 * tiny_vit.config.image_size, "width": 2 * tiny_vit.config.image_size}
    processor.save_pretrained(tmp_path / "base")
    with pytest.raises(QVecError, match=r"pixel values of shape .*, which the model refuses"):
        train_probe(tmp_path / "base", DatasetDict(train=images(60, 0)), tmp_path / "probe")
    assert not (tmp_path / "probe").exists()


def test_a_head_is_taken_only_from_a_whole_probe_of_its_shape(base, tiny_vit, tmp_path):
    folder = train_probe(base, DatasetDict(train=images(60, 0)), tmp_path / "probe")
    take_head_(tiny_vit, folder)
    assert torch.equal(tiny_vit.classifier.weight, load_file(folder / "model.safetensors")["classifier.weight"])
    tiny_vit.classifier = torch.nn.Linear(tiny_vit.config.hidden_size, 17)
    with pytest.raises(ArtifactError, match=r"fitted to the same task \(its head is .*, not \(17,"):
        take_head_(tiny_vit, folder)
    (folder / "model.safetensors").write_bytes(b"half")
    with pytest.raises(ArtifactError, match="probe': expected a base with a head"):
        take_head_(tiny_vit, folder)
