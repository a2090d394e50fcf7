"""Images of any size are drawn at it: the same picture as at 24 pixels, with more detail than an enlarged one."""

import numpy as np
import pytest
from PIL import Image

from qvec_hub import zoo
from qvec_hub.errors import DataError
from qvec_hub.zoo.families import digits
from qvec_hub.zoo.photos import largest_size, patches, photograph

SIZES = (24, 37, 70, 112, 224)
DRAWN = [name for name in zoo.tasks() if not zoo.get_task(name).photographs]


def resized(images, size):
    """Images ``(n, …)`` at another size, by Pillow."""
    return np.stack(
        [np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)) for image in images]
    )


def steepest(images):
    """The steepest step between neighbouring pixels of each image, along rows, noise mostly averaged away."""
    grey = images.astype(float).mean(axis=-1)
    rows = grey[:, : grey.shape[1] // 2 * 2].reshape(len(grey), -1, 2, grey.shape[2]).mean(axis=2)
    return np.abs(np.diff(rows, axis=2)).max(axis=(1, 2))


@pytest.mark.parametrize("name", zoo.tasks())
def test_images_have_the_size_asked_for(name):
    for size in SIZES:
        if size <= zoo.get_task(name).largest:
            images, labels = zoo.arrays(name, "test", 12, size=size)
            assert images.shape == (12, size, size, 3)
            assert images.std(axis=(1, 2, 3)).min() > 0
            assert np.array_equal(labels, zoo.arrays(name, "test", 12)[1])


@pytest.mark.parametrize("name", DRAWN)
def test_a_large_image_shows_what_the_small_one_shows(name):
    """Shrunk to 24 pixels it looks like its own small version, more than like that of any other image."""
    large, small = (zoo.arrays(name, "test", 24, size=size)[0] for size in (72, 24))
    one, other = (
        (each - each.mean(axis=(1, 2, 3), keepdims=True)).reshape(len(each), -1)
        for each in (resized(large, 24).astype(float), small.astype(float))
    )
    likeness = (one @ other.T) / np.linalg.norm(one, axis=1)[:, None] / np.linalg.norm(other, axis=1)
    assert (likeness.argmax(axis=1) == np.arange(24)).all()


@pytest.mark.parametrize("name", [name for name in DRAWN if name not in ("digits", "gratings", "shading")])
def test_edges_are_sharper_than_those_of_an_enlarged_image(name):
    """The three left out have no edges: scans of 8 pixels, sine waves, and round bumps."""
    drawn, small = (zoo.arrays(name, "test", 40, size=size)[0] for size in (96, 24))
    assert np.median(steepest(drawn)) > 1.3 * np.median(steepest(resized(small, 96)))


def test_a_patch_shows_the_pixels_of_its_photograph():
    """One that is as large as its image is a piece of the photograph, byte by byte."""
    source = photograph("gravel.png")
    patch = np.rint(patches("gravel.png", "train", 1, np.random.default_rng(0), 70, spans=(24, 24))[0] * 255)
    windows = np.lib.stride_tricks.sliding_window_view(source[..., 0], (70, 70))
    assert (windows == patch[..., 0].astype(np.uint8)).all(axis=(2, 3)).any()


def test_photographs_are_never_enlarged(monkeypatch):
    sides = []
    resize = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda self, *args: sides.append(self.size) or resize(self, *args))
    for name in zoo.tasks():
        if zoo.get_task(name).photographs:
            zoo.arrays(name, "train", 60, size=70)
    assert sides
    assert min(min(size) for size in sides) >= 70


def test_the_smallest_photograph_bounds_the_size():
    """page.png has 191 rows: one row of cells, of which three fit into its 384 columns up to 128 pixels a side."""
    assert largest_size(("page.png",)) == 96
    assert zoo.get_task("photographs").largest == 96


def test_a_mosaic_has_six_stones_a_row_at_any_size():
    images, labels = zoo.arrays("distortions", "test", 70, size=70)
    mosaic = images[labels == zoo.get_task("distortions").classes.index("mosaic")].astype(float).mean(axis=-1)
    steps = np.abs(np.diff(mosaic, axis=2)).mean(axis=(0, 1))
    assert set(np.argsort(steps)[-5:] + 1) == {70 * k // 6 for k in range(1, 6)}


def test_digits_are_interpolated_without_overshoot():
    scans = digits._scans()[0][:50]
    large = digits._enlarged(scans, 74)
    assert large.shape == (50, 74, 74)
    assert large.min() >= 0
    assert large.max() <= 1
    assert np.array_equal(digits._enlarged(scans, 8), scans)


def test_a_size_is_a_whole_number_of_any_library():
    expected = zoo.arrays("shapes", "test", 3, size=40)[0]
    assert np.array_equal(zoo.arrays("shapes", "test", 3, size=np.int64(40))[0], expected)
    for size in (40.0, True, "40"):
        with pytest.raises(DataError, match=f"expected a size from 24 to 224 pixels, found {size}"):
            zoo.arrays("shapes", "test", 3, size=size)


def test_a_dataset_of_another_size():
    data = zoo.load_task("flags", train=4, validation=3, test=2, size=70)
    assert {image.size for split in zoo.SPLITS for image in data[split]["image"]} == {(70, 70)}
    assert np.array_equal(np.stack(data["test"]["image"]), zoo.arrays("flags", "test", 2, size=70)[0])
