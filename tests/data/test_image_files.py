"""Files that people have in their image folders: read as Pillow reads them, or named; nothing is lost in silence."""

from __future__ import annotations

import io
import logging
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict
from PIL import Image, ImageOps, features

from qvec_hub.cli.image_dataset import image_dataset
from qvec_hub.data.classes import class_names
from qvec_hub.data.files import image_suffixes
from qvec_hub.data.images import load_image_splits, load_images, read_images
from qvec_hub.errors import DataError
from qvec_hub.evaluation.images import preprocess
from qvec_hub.evaluation.runner import evaluate, predict
from qvec_hub.training.shared_images import shared_images

NOISE = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
COLOUR = Image.fromarray(NOISE)


def fill(root: Path, name: str = "0.png", image: Image.Image = COLOUR, **save) -> Path:
    """One class folder with this image and another with a plain one."""
    for folder, file, shown in (("a", name, image), ("b", "1.png", COLOUR)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        shown.save(root / folder / file, **save if file == name else {})
    return root


FORMATS = {
    "x.jfif": "JPEG", "x.jpe": "JPEG", "x.JPG": "JPEG", "x.mpo": "JPEG", "x.apng": "PNG", "x.PNG": "PNG",
    "x.tga": "TGA",
    "x.webp": "WEBP", "x.avif": "AVIF", "x.jp2": "JPEG2000", "x.j2k": "JPEG2000", "x.dib": "BMP", "x.pnm": "PPM",
    "x.ico": "ICO", "x.pcx": "PCX", "x.qoi": "QOI", "x.sgi": "SGI", "x.TIFF": "TIFF", "x.gif": "GIF", "x.dds": "DDS",
}  # fmt: skip
OPTIONAL = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}


@pytest.mark.parametrize("name", FORMATS)
def test_what_pillow_reads_is_read(name, tmp_path):
    kind = FORMATS[name]
    if kind in OPTIONAL and not features.check(OPTIONAL[kind]):
        pytest.skip(f"this Pillow was built without {kind}")
    fill(tmp_path, name, format=kind)
    with Image.open(tmp_path / "a" / name) as opened:
        expected = np.asarray(opened.convert("RGB"))
    dataset = load_images(tmp_path)
    assert len(dataset) == 2
    assert np.array_equal(np.asarray(read_images(dataset, [0])[0]), expected)
    assert len(image_dataset(str(tmp_path))) == 2


def test_plugins_of_others_count_and_formats_that_are_only_recognized_do_not(monkeypatch):
    assert image_suffixes().isdisjoint({".pdf", ".eps", ".mpg", ".h5", ".txt", ""})
    monkeypatch.setitem(Image.EXTENSION, ".heic", "HEIF")
    assert ".heic" not in image_suffixes()
    monkeypatch.setitem(Image.OPEN, "HEIF", Image.OPEN["PNG"])
    assert ".heic" in image_suffixes()


@pytest.mark.parametrize("other", ["x.heic", "x.jxl", "x.svg", "x.cr2", "x.pdf", "0001", "x.mp4"])
def test_what_is_left_out_is_named(other, tmp_path):
    fill(tmp_path)
    (tmp_path / "a" / other).write_bytes(b"?")
    (tmp_path / "a" / "notes.txt").write_text("no image, and nobody expects one")
    for read in (load_images, lambda folder: image_dataset(str(folder))):
        with pytest.warns(UserWarning, match=rf"1 file \('{other}'\) left out"):
            assert len(read(tmp_path)) == 2
    (tmp_path / "c").mkdir()
    (tmp_path / "a" / other).rename(tmp_path / "c" / other)
    for read in (lambda folder: image_dataset(str(folder)), load_images):
        with pytest.raises(DataError, match=rf"expected .*found none.*1 file \('{other}'\) that the installed Pillow"):
            read(tmp_path / "c")


def test_images_beside_the_folders_of_the_classes_are_named(tmp_path):
    COLOUR.save(fill(tmp_path) / "stray.png")
    with pytest.warns(UserWarning, match=r"1 file \('stray.png'\) left out: they lie beside the folders"):
        assert len(load_images(tmp_path)) == 2


@pytest.mark.parametrize(
    "hidden", ["__MACOSX/a/._0.png", "a/._0.png", ".cache/x.png", "a/@eaDir/x.jpg", "a/.x/y/z.png", "__MACOSX/x.png"]
)
def test_hidden_files_and_resource_forks_are_skipped_and_said(hidden, tmp_path, caplog):
    fill(tmp_path)
    (tmp_path / hidden).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / hidden).write_bytes(b"\x00\x05\x16\x07")
    for junk in (".DS_Store", "a/.DS_Store", "a/Thumbs.db", "a/desktop.ini"):
        (tmp_path / junk).write_bytes(b"?")
    for read in (load_images, lambda folder: image_dataset(str(folder))):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "qvec_hub"):
            dataset = read(tmp_path)
        assert len(read_images(dataset, range(len(dataset)))) == 2
        assert Path(hidden).name in caplog.text
        assert "1 file" in caplog.text
    assert class_names(load_images(tmp_path)) == ["a", "b"]


def test_a_class_may_begin_with_underscores(tmp_path):
    fill(tmp_path)
    (tmp_path / "b").rename(tmp_path / "__background__")
    assert class_names(load_images(tmp_path)) == ["__background__", "a"]


def with_palette() -> Image.Image:
    image = COLOUR.convert("P")
    image.info["transparency"] = bytes(range(256))
    return image


def turned() -> dict:
    exif = Image.Exif()
    exif[0x0112] = 6
    return {"exif": exif}


@pytest.mark.parametrize(
    ("name", "image", "save"),
    [
        ("cmyk.jpg", COLOUR.convert("CMYK"), {}),
        ("palette.png", with_palette(), {"transparency": bytes(range(256))}),
        ("animated.gif", COLOUR.convert("P"), {"save_all": True, "append_images": [Image.new("P", COLOUR.size, 3)]}),
        ("animated.webp", COLOUR, {"save_all": True, "append_images": [Image.new("RGB", COLOUR.size)]}),
        ("turned.jpg", COLOUR, turned()),
        ("la.png", Image.merge("LA", (COLOUR.convert("L"), COLOUR.convert("L").rotate(180))), {}),
        ("rgba.png", Image.merge("RGBA", (*COLOUR.split(), COLOUR.convert("L"))), {}),
        ("bits.png", COLOUR.convert("1"), {}),
        ("one.png", COLOUR.crop((0, 0, 1, 1)), {}),
        ("ycc.jpg", COLOUR.convert("YCbCr"), {}),
        ("lab.tif", COLOUR.convert("RGB").convert("HSV").convert("RGB"), {}),
        ("deep.png", Image.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000), {}),
    ],
)  # fmt: skip
def test_pixels_are_those_of_pillow(name, image, save, tmp_path):
    fill(tmp_path, name, image, **save)
    with Image.open(tmp_path / "a" / name) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if opened.mode.startswith("I;16"):  # Pillow would clip what is above 255
            expected = np.repeat(np.asarray(opened)[..., None] >> 8, 3, axis=2).astype(np.uint8)
        else:
            expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    dataset = load_images(tmp_path)
    assert np.array_equal(np.asarray(read_images(dataset, [0])[0]), expected)
    if name == "turned.jpg":
        assert expected.shape == (12, 9, 3)
    shown = preprocess(dataset, as_small_tensor).pixel_values[0]
    assert np.array_equal(shown.numpy(), np.asarray(Image.fromarray(expected).resize((4, 4))))
    shipped = shared_images(image_dataset(str(tmp_path)), 2, 8)[0]
    assert np.array_equal(shipped, np.asarray(Image.fromarray(expected).resize((8, 8), Image.Resampling.BICUBIC)))


def as_small_tensor(images, return_tensors):
    import torch

    return {"pixel_values": torch.stack([torch.tensor(np.asarray(image.resize((4, 4)))) for image in images])}


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("damage", [cut, lambda data: b"", lambda data: b"<html>", lambda data: data[:8]])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".tif", ".webp", ".bmp"])
def test_damaged_images_are_named(damage, suffix, tmp_path):
    fill(tmp_path, f"0{suffix}")
    file = tmp_path / "b" / f"bad{suffix}"
    COLOUR.save(file)
    file.write_bytes(damage(file.read_bytes()))
    (tmp_path / "b" / "1.png").unlink()
    dataset = load_images(tmp_path)
    with pytest.raises(DataError, match=rf"row 1.*b/bad\{suffix}"):
        read_images(dataset, [0, 1])


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    fill(tmp_path, "bomb.png", Image.new("1", (400, 400)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    with pytest.raises(DataError, match=r"bomb\.png.*DecompressionBomb"):
        load_images(tmp_path)


def test_entries_that_are_no_files(tmp_path):
    fill(tmp_path)
    (tmp_path / "a" / "x.png").mkdir()
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "a" / "self.png").symlink_to("self.png")
    (tmp_path / "a" / "link.png").symlink_to(tmp_path / "b" / "1.png")
    assert load_images(tmp_path)["label"][:] == [0, 0, 1]
    (tmp_path / "a" / "up").symlink_to("..")  # would make every image one of a
    for read in (load_images, lambda folder: image_dataset(str(folder))):
        with pytest.warns(UserWarning, match=r"\('up'\) left out: links to folders"):
            assert len(read(tmp_path)) == 3
    os.mkfifo(tmp_path / "b" / "pipe.png")
    with pytest.warns(UserWarning, match="'up'"):
        assert len(load_images(tmp_path)) == 3


def test_names_that_are_no_text(tmp_path):
    fill(tmp_path)
    bad = os.fsencode(tmp_path / "a") + b"/caf\xe9.png"
    try:
        Path(os.fsdecode(bad)).write_bytes((tmp_path / "b" / "1.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    for read in (load_images, lambda folder: image_dataset(str(folder))):
        with pytest.raises(DataError, match=r"expected file names in UTF-8, found 'caf\\udce9\.png'"):
            read(tmp_path)


ODD = ["a[b]c", "st*r", "q?", "two words", "übung", "u\u0308bung", "ha#sh", "p%20c", "at@sign", "-dash", "zoo:x",
       "co:lon", "~tilde", "b{1,2}", "s!x", "quo'te", 'dq"x', "new\nline", "x.parquet",
       "back\\slash", "hf:"]  # fmt: skip


@pytest.fixture(scope="module")
def kinds(tmp_path_factory) -> Path:
    """The three kinds of folders that hold a dataset, under names that look like patterns."""
    root = tmp_path_factory.mktemp("kinds")
    fill(root / "folders", "i[0]#*.png")
    encoded = io.BytesIO()
    COLOUR.save(encoded, "png")
    rows = {"image": [encoded.getvalue()] * 2, "label": [0, 1]}
    (root / "parquet").mkdir()
    pq.write_table(pa.table(rows), root / "parquet" / "test[1]-0.parquet")
    Dataset.from_dict(rows).save_to_disk(root / "saved")
    return root


@pytest.mark.parametrize("name", ODD)
def test_any_path_is_a_path(name, kinds, tmp_path, monkeypatch):
    (tmp_path / name).symlink_to(kinds)
    monkeypatch.chdir(tmp_path)
    for kind in ("folders", "parquet", "saved", "parquet/test[1]-0.parquet"):
        sources = [tmp_path / name / kind, f"{name}/{kind}"]
        sources += [] if "." in kind else [f"{tmp_path / name / kind}/"]
        for source in sources:
            dataset = load_images(source, cache_dir=tmp_path / "cache")
            assert np.array_equal(np.asarray(dataset[1]["image"]), NOISE), source
    assert len(image_dataset(f"{name}/folders")) == 2
    for kind in ("parquet", "saved"):
        assert len(image_dataset(f"{name}/{kind}")) == 2


def test_two_colons_name_another_path_to_datasets(kinds, tmp_path):
    shutil.copytree(kinds, tmp_path / "a::b")
    assert len(load_images(tmp_path / "a::b" / "folders")) == 2
    for kind in ("parquet", "saved"):
        with pytest.raises(DataError, match="expected a path without '::'"):
            load_images(tmp_path / "a::b" / kind)


@pytest.mark.parametrize("source", ["~nobody-of-that-name/x", "a\0b", "x" * 5000, "~/no such folder", "hf://a/b"])
def test_paths_that_are_none(source):
    for read in (load_images, load_image_splits, image_dataset):
        with pytest.raises(DataError):
            read(source)


def test_things_that_are_no_dataset(tmp_path):
    streamed = Dataset.from_dict({"image": [COLOUR], "label": [0]}).to_iterable_dataset()
    for source in (streamed, {"train": streamed}, DatasetDict(train=streamed)):
        with pytest.raises(DataError, match="streamed dataset has to be loaded first"):
            load_images(source)
    for call in (lambda: preprocess(streamed, as_small_tensor), lambda: read_images(str(tmp_path), [0])):
        with pytest.raises(DataError, match="expected images as load_images gives them"):
            call()


def test_metadata_that_labels_the_images_too(tmp_path):
    fill(tmp_path)
    (tmp_path / "metadata.csv").write_text("file_name,caption\na/0.png,some\n")
    assert len(load_images(tmp_path)) == 2
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a/0.png", "label": 1}\n')
    with pytest.raises(DataError, match=r"found labels in 'metadata\.jsonl' as well; .*imagefolder"):
        load_images(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"image": ["nowhere/x.png"], "label": [0]}, r"row 0.*nowhere/x\.png.*FileNotFoundError"),
        ({"image": [{"path": None, "bytes": None}], "label": [0]}, "row 0"),
        ({"image": [{"inner": {"deep": 1}}], "label": [0]}, "expected one image column"),
        ({"image": [{"bytes": {"deep": 1}}], "label": [0]}, "expected"),
        ({"image": [b"x"], "label": [{"id": 3}]}, "expected one label column"),
    ],
)
def test_columns_of_odd_content(rows, message, tmp_path):
    pq.write_table(pa.table(rows), tmp_path / "test.parquet")
    for source in (Dataset.from_dict(rows), tmp_path):
        with pytest.raises(DataError, match=message):
            load_images(source)


def test_evaluate_and_predict_refuse_what_is_no_dataset(base):
    streamed = Dataset.from_dict({"image": [COLOUR], "label": [0]}).to_iterable_dataset()
    with pytest.raises(DataError, match="streamed dataset"):
        evaluate(base, streamed, processor=as_small_tensor)
    for odd in (streamed, "some/dataset", 3):
        with pytest.raises(DataError, match="expected images as load_images gives them"):
            predict(base, odd, processor=as_small_tensor)
