"""Tasks as datasets."""

import datasets
import numpy as np
import pytest

from qvec_hub import zoo
from qvec_hub.errors import DataError


def test_columns_features_and_sizes():
    data = zoo.load_task("gratings", train=30, validation=7, test=11)
    assert {split: len(part) for split, part in data.items()} == {"train": 30, "validation": 7, "test": 11}
    features = data["train"].features
    assert features["label"].names == list(zoo.get_task("gratings").classes)
    assert isinstance(features["image"], datasets.Image)
    image = data["train"][0]["image"]
    assert (image.mode, image.size) == ("RGB", (24, 24))


def test_images_are_the_drawn_bytes():
    images, labels = zoo.arrays("colours", "validation", 9, seed=2)
    part = zoo.load_task("colours", train=1, validation=9, test=1, seed=2)["validation"]
    assert np.array_equal(np.stack([np.asarray(image) for image in part["image"]]), images)
    assert list(part["label"]) == labels.tolist()


def test_same_arguments_same_table():
    first, again = (zoo.load_task("counting", train=20, validation=5, test=5) for _ in range(2))
    assert all(first[split].data.table.equals(again[split].data.table) for split in zoo.SPLITS)


def test_the_digits_have_fewer_held_out_images_than_asked_for():
    data = zoo.load_task("digits", train=950)
    assert {split: len(part) for split, part in data.items()} == {"train": 950, "validation": 300, "test": 600}


@pytest.mark.parametrize("arguments", [{"name": "cifar10"}, {"name": "shapes", "train": 4, "validation": 4, "test": 0}])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(DataError, match="zoo:"):
        zoo.load_task(**arguments)
