"""Train, validation and test share nothing: no scan, no region of a photograph, no image."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_sample_image

from qvec_hub import zoo
from qvec_hub.errors import DataError
from qvec_hub.zoo.families import digits, distortions, intruders, photographs, textures
from qvec_hub.zoo.photos import cell_side, cells, patches, photograph

PHOTOGRAPHS = sorted(
    {
        *textures.MATERIALS.values(),
        *distortions.PHOTOGRAPHS,
        *photographs.MOTIFS.values(),
        *intruders.PHOTOGRAPHS,
    }
)


def test_every_scan_belongs_to_one_split():
    owned = [digits.samples(split) for split in zoo.SPLITS]
    assert sorted(np.concatenate(owned)) == list(range(1797))


def test_digits_give_each_real_scan_once_and_then_no_more():
    images, labels = zoo.arrays("digits", "test", 5000)
    scans = digits.samples("test")
    assert len(images) == len(labels) == len(set(scans.tolist())) == 600
    assert sorted(labels) == sorted(load_digits().target[scans])


@pytest.mark.parametrize("size", [24, 70, 96])
@pytest.mark.parametrize("file", PHOTOGRAPHS)
def test_no_pixel_of_a_photograph_is_in_two_splits(file, size):
    used, side = np.zeros(photograph(file).shape[:2], dtype=int), cell_side(size)
    for split in zoo.SPLITS:
        assert cells(file, split, size)
        for y, x in cells(file, split, size):
            used[y : y + side, x : x + side] += 1
    assert used.max() == 1


@pytest.mark.parametrize("size", [24, 70])
def test_patches_come_from_the_cells_of_their_split(size):
    """Stencil: the photograph is replaced by its own map of splits."""
    side = cell_side(size)
    for split in zoo.SPLITS:
        own = np.zeros_like(photograph("moon.png"))
        for y, x in cells("moon.png", split, size):
            own[y : y + side, x : x + side] = 255
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("qvec_hub.zoo.photos.photograph", lambda file, own=own: own)
            assert patches("moon.png", split, 200, np.random.default_rng(0), size, spans=(24, 64)).min() == 1


@pytest.mark.parametrize("name", zoo.tasks())
def test_no_image_is_in_two_splits(name):
    found = {split: {image.tobytes() for image in zoo.arrays(name, split, 300)[0]} for split in zoo.SPLITS}
    for one, other in combinations(zoo.SPLITS, 2):
        assert not found[one] & found[other]


def test_the_size_of_a_split_does_not_change_another():
    small, large = (zoo.load_task("shapes", train=n, validation=5, test=20) for n in (10, 60))
    assert small["test"].to_dict() == large["test"].to_dict()


def test_a_photograph_that_is_not_installed_is_named():
    with pytest.raises(DataError, match=r"eagle\.png is not in the installed scikit-image"):
        photograph("eagle.png")


def test_the_package_that_should_hold_a_photograph_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("qvec_hub.zoo.photos._folder", lambda home: tmp_path)
    with pytest.raises(DataError, match=r"china\.jpg is not in the installed scikit-learn"):
        photograph.__wrapped__("china.jpg")


def test_photographs_of_scikit_learn_are_its_own():
    assert np.array_equal(photograph("flower.jpg"), load_sample_image("flower.jpg"))
