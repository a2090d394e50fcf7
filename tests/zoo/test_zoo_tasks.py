"""Every task draws what it promises, and the same bytes every time."""

import numpy as np
import pytest

from qvec_hub import zoo
from qvec_hub.errors import DataError
from qvec_hub.zoo.canvas import SIZE
from qvec_hub.zoo.registry import task


@pytest.mark.parametrize("name", zoo.tasks())
def test_images_and_labels(name):
    images, labels = zoo.arrays(name, "train", 96)
    classes = zoo.get_task(name).classes
    assert images.shape == (96, SIZE, SIZE, 3)
    assert images.dtype == np.uint8
    assert labels.shape == (96,)
    assert labels.min() >= 0
    assert labels.max() < len(classes)
    assert len(set(classes)) == len(classes)
    assert images.std(axis=(1, 2, 3)).min() > 0  # none is blank


@pytest.mark.parametrize("name", zoo.tasks())
def test_same_arguments_same_bytes(name):
    first, again = zoo.arrays(name, "test", 40, seed=3), zoo.arrays(name, "test", 40, seed=3)
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1].tobytes() == again[1].tobytes()
    assert first[0].tobytes() != zoo.arrays(name, "test", 40, seed=4)[0].tobytes()


@pytest.mark.parametrize("name", [name for name in zoo.tasks() if name != "digits"])
def test_classes_are_balanced(name):
    _, labels = zoo.arrays(name, "train", 150)
    counts = np.bincount(labels, minlength=len(zoo.get_task(name).classes))
    assert counts.max() - counts.min() <= 1


def test_a_zoo_of_22_tasks_in_a_stable_order():
    assert len(zoo.tasks()) == 22
    assert zoo.tasks()[:2] == ("digits", "glyphs-latin")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("glyphs-klingon", "train", 5), "known tasks are .*glyphs-latin"),
        (("shapes", "dev", 5), "splits are train, validation, test"),
        (("shapes", "train", 0), "at least 1"),
        (("shapes", "train", 5, -1), "seed of 0 or more"),
        (("shapes", "train", 5, 0, 23), r"task 'shapes': expected a size from 24 to 224 pixels, found 23"),
        (("shapes", "train", 5, 0, 225), "found 225"),
        (("shapes", "train", 5, 0, 70.0), r"found 70\.0"),
        (("photographs", "train", 5, 0, 97), "'photographs': expected a size from 24 to 96 pixels, because its photo"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(DataError, match=message):
        zoo.arrays(*arguments)


def test_two_tasks_cannot_share_a_name():
    with pytest.raises(ValueError, match="registered twice"):
        task("shapes", ("a",), "another")(lambda split, n, rng, size: zoo.arrays("shapes", split, n))
