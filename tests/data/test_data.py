"""Datasets from every kind of source, and every way a source can be wrong."""

from __future__ import annotations

import io
import time
from pathlib import Path

import datasets
import huggingface_hub.constants
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from datasets import Image as ImageFeature
from PIL import Image

from qvec_hub.data.classes import class_names
from qvec_hub.data.images import load_image_splits, load_images, read_images
from qvec_hub.errors import DataError

from .heads import head_ids


def plain_image(value: int, size: int = 8) -> Image.Image:
    return Image.fromarray(np.full((size, size, 3), value, dtype=np.uint8))


def png(value: int) -> bytes:
    out = io.BytesIO()
    plain_image(value).save(out, "png")
    return out.getvalue()


def write_folder(root: Path, classes: dict[str, int], suffix: str = ".png") -> Path:
    for value, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            plain_image(10 * value + i).save(root / name / f"{i}{suffix}")
    return root


def in_memory(labels: list[int], names: list[str] | None = None) -> Dataset:
    label = ClassLabel(names=names) if names else Value("int64")
    columns = {"image": [plain_image(i) for i in range(len(labels))], "label": labels}
    return Dataset.from_dict(columns, features=Features({"image": ImageFeature(), "label": label}))


def listing(root: Path) -> list[Path]:
    return sorted(root.rglob("*"))


def values(dataset: Dataset) -> list[int]:
    return [np.asarray(image)[0, 0, 0].item() for image in read_images(dataset, range(len(dataset)))]


# Folders of images


def test_class_folders_with_splits(tmp_path):
    write_folder(tmp_path / "train", {"dog": 2, "cat": 3})
    write_folder(tmp_path / "val", {"dog": 1})
    splits = load_image_splits(tmp_path)
    assert set(splits) == {"train", "validation"}
    assert splits["train"].column_names == ["image", "label"]
    assert class_names(splits["validation"]) == ["cat", "dog"]  # also those the split has no image of
    assert splits["train"]["label"][:] == [0, 0, 0, 1, 1]
    assert splits["validation"]["label"][:] == [1]
    assert values(splits["train"]) == [10, 11, 12, 0, 1]


def test_class_folders_without_splits(tmp_path):
    write_folder(tmp_path, {"cat": 1, "dog": 2})
    dataset = load_images(str(tmp_path))
    assert dataset["label"][:] == [0, 1, 1]
    assert set(load_image_splits(tmp_path)) == {"train"}


def test_a_class_may_be_called_train(tmp_path):
    write_folder(tmp_path, {"bus": 1, "train": 2, "test_card": 1}, suffix=".JPG")
    dataset = load_images(tmp_path)
    assert class_names(dataset) == ["bus", "test_card", "train"]
    assert len(dataset) == 4


def test_folders_that_mix_splits_and_classes(tmp_path):
    write_folder(tmp_path / "train", {"cat": 1})
    write_folder(tmp_path, {"dog": 1})
    with pytest.raises(DataError, match=r"images in 'dog' beside the split 'train'"):
        load_images(tmp_path)


def test_two_folders_for_one_split(tmp_path):
    write_folder(tmp_path / "val", {"cat": 1})
    write_folder(tmp_path / "valid", {"cat": 1})
    with pytest.raises(DataError, match=r"'val' and 'valid'"):
        load_images(tmp_path)


@pytest.mark.parametrize("where", ["", "train"])
def test_images_without_class_folders(tmp_path, where):
    (tmp_path / where).mkdir(exist_ok=True)
    plain_image(1).save(tmp_path / where / "1.png")
    with pytest.raises(DataError, match="without class folders"):
        load_images(tmp_path)


def test_folder_without_images(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("none")
    with pytest.raises(DataError, match="expected class folders of images"):
        load_images(tmp_path)


def test_hidden_files_and_folders_are_no_classes(tmp_path):
    write_folder(tmp_path, {"cat": 1, "dog": 1, ".ipynb_checkpoints": 1, "__MACOSX": 1})
    (tmp_path / "cat" / "._0.png").write_bytes(b"resource fork")
    assert class_names(load_images(tmp_path)) == ["cat", "dog"]
    assert len(load_images(tmp_path)) == 2


# Parquet


def test_parquet_with_structs_and_text_labels(tmp_path):
    rows = {"img": [{"bytes": png(i), "path": None} for i in range(4)], "target": ["b", "a", "c", "b"]}
    pq.write_table(pa.table(rows), tmp_path / "some.parquet")
    dataset = load_images(tmp_path / "some.parquet", cache_dir=tmp_path / "cache")
    assert class_names(dataset) == ["a", "b", "c"]
    assert dataset["label"][:] == [1, 0, 2, 1]
    assert values(dataset) == [0, 1, 2, 3]
    assert isinstance(dataset.features["image"], ImageFeature)


def test_parquet_folder_with_splits_shares_text_classes(tmp_path):
    (tmp_path / "data").mkdir()
    for name, labels in {"train-00000-of-00002": ["b"], "train-00001-of-00002": ["c"], "test-0": ["a"]}.items():
        table = pa.table({"image": [png(7)] * len(labels), "label": labels})  # raw bytes
        pq.write_table(table, tmp_path / "data" / f"{name}.parquet")
    splits = load_image_splits(tmp_path, cache_dir=tmp_path / "cache")
    assert {split: dataset["label"][:] for split, dataset in splits.items()} == {"train": [1, 2], "test": [0]}
    assert load_images(tmp_path, "test", cache_dir=tmp_path / "cache").features == splits["test"].features
    with pytest.raises(DataError, match=r"expected a split 'val', found .*'train'"):
        load_images(tmp_path, "val", cache_dir=tmp_path / "cache")


def test_parquet_folder_with_configs(tmp_path):
    for config, label in {"one": 1, "two": 2}.items():
        (tmp_path / config).mkdir()
        pq.write_table(pa.table({"image": [png(0)], "label": [label]}), tmp_path / config / "test.parquet")
    dataset = load_images(tmp_path, "test", config="two", cache_dir=tmp_path / "cache")
    assert dataset["label"][:] == [2]
    with pytest.raises(DataError, match="sub-folder 'three'"):
        load_images(tmp_path, "test", config="three", cache_dir=tmp_path / "cache")


def test_parquet_folder_with_an_unnamed_split(tmp_path):
    for name in ("train", "more"):
        pq.write_table(pa.table({"image": [png(0)], "label": [0]}), tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match=r"found 'more\.parquet' beside files of 'train'"):
        load_images(tmp_path)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3), (3, 6, 5), (6, 5, 1), (6, 5, 4)])
def test_pixel_arrays(tmp_path, shape):
    arrays = np.random.default_rng(0).integers(0, 256, (3, *shape))
    pq.write_table(pa.table({"image": arrays.tolist(), "label": [0, 1, 2]}), tmp_path / "a.parquet")
    dataset = load_images(tmp_path / "a.parquet", cache_dir=tmp_path / "cache")
    want = arrays[1].transpose(1, 2, 0) if shape[0] == 3 else arrays[1].reshape(6, 5, -1)
    got = np.asarray(dataset[1]["image"]).reshape(6, 5, -1)
    assert np.array_equal(got, want)


@pytest.mark.parametrize("bad", [[[0.5, 1.0]], [[300, 0]], [[[0] * 7] * 2] * 2, [[1], [1, 2]]])
def test_arrays_that_are_no_pixels(tmp_path, bad):
    pq.write_table(pa.table({"image": [bad], "label": [0]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="arrays of integers from 0 to 255"):
        load_images(tmp_path / "a.parquet", cache_dir=tmp_path / "cache")


def test_damaged_parquet(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"a\.parquet.*expected a readable dataset"):
        load_images(tmp_path / "a.parquet", cache_dir=tmp_path / "cache")


# Saved and in-memory datasets


def test_saved_datasets_are_left_as_they_were(tmp_path):
    text = Dataset.from_dict(
        {"png": [png(0), png(1)], "class": ["x", "w"]},
        features=Features({"png": Value("binary"), "class": Value("string")}),
    )
    text.save_to_disk(tmp_path / "one")
    DatasetDict(train=text, test=text.select([1])).save_to_disk(tmp_path / "dict")
    before = listing(tmp_path)
    assert load_images(tmp_path / "one")["label"][:] == [1, 0]
    test = load_images(tmp_path / "dict", "test")
    assert test["label"][:] == [0]
    assert class_names(test) == ["w", "x"]
    assert values(test) == [1]
    assert head_ids(test, 2, {0: "x", 1: "w"}) == [1]
    assert listing(tmp_path) == before


def test_damaged_saved_dataset(tmp_path):
    in_memory([0, 1]).save_to_disk(tmp_path)
    next(tmp_path.glob("*.arrow")).unlink()
    with pytest.raises(DataError, match="expected a readable dataset"):
        load_images(tmp_path)


def test_in_memory_with_another_format_and_indices():
    dataset = in_memory([2, 0, 1]).select([2, 0]).with_format("numpy")
    loaded = load_images(dataset, "test")  # a Dataset is one split, whatever it is called
    assert loaded["label"][:] == [1, 2]
    assert values(loaded) == [2, 0]


def test_text_labels_behind_indices():
    dataset = Dataset.from_dict({"image": [png(i) for i in range(3)], "label": ["b", "a", "c"]}).shuffle(seed=1)
    want = [{"a": 0, "b": 1, "c": 2}[name] for name in dataset["label"][:]]
    loaded = load_images(dataset)
    assert loaded["label"][:] == want
    assert values(loaded) == [{0: 1, 1: 0, 2: 2}[label] for label in want]


def test_zoo_tasks_go_through_the_zoo(monkeypatch):
    def load_task(name, size):
        return DatasetDict(train=in_memory([0, 1]), test=in_memory([len(name), size]))

    monkeypatch.setattr("qvec_hub.zoo.load_task", load_task)
    assert load_images("zoo:shapes", "test")["label"][:] == [6, 24]
    assert load_images("zoo:shapes@70", "test")["label"][:] == [6, 70]


# Columns


def test_columns_found_by_type_before_name():
    dataset = in_memory([0, 1], ["a", "b"]).rename_columns({"image": "scan", "label": "diagnosis"})
    loaded = load_images(dataset.add_column("age", [40, 50]))
    assert loaded.column_names == ["image", "label"]
    assert class_names(loaded) == ["a", "b"]


def test_fine_label_is_preferred_to_an_uncommon_name():
    dataset = in_memory([0, 1], ["a", "b"]).rename_column("label", "fine_label")
    dataset = dataset.add_column("coarse_label", [0, 0], feature=ClassLabel(names=["all"]))
    assert class_names(load_images(dataset)) == ["a", "b"]
    assert class_names(load_images(dataset, label_column="coarse_label")) == ["all"]


def test_columns_with_swapped_names():
    dataset = in_memory([0, 1], ["a", "b"]).rename_columns({"image": "x", "label": "y"})
    dataset = dataset.rename_columns({"x": "label", "y": "image"})
    loaded = load_images(dataset, image_column="label", label_column="image")
    assert loaded["label"][:] == [0, 1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [0]}, r"expected one image column, found none; its columns are 'label' \(int64\).*image_column"),
        ({"image": [png(0)]}, r"expected one label column, found none.*label_column"),
        ({"image": [png(0)], "label": [0.5]}, r"expected one label column, found none.*'label' \(float64\)"),
        ({"image": [png(0)], "label": [[0, 1]]}, r"expected one label column, found none"),
        ({"image": [png(0)], "img": [png(0)], "label": [0]}, r"expected one image column, found 2.*image_column"),
        ({"image": [png(0)], "label": [0], "target": [0]}, r"expected one label column, found 2.*label_column"),
    ],
)
def test_columns_that_cannot_be_told(columns, message):
    with pytest.raises(DataError, match=message):
        load_images(Dataset.from_dict(columns))


def test_named_columns_must_exist_and_fit():
    dataset = in_memory([0])
    with pytest.raises(DataError, match=r"expected images in column 'pic', found the columns 'image' \(Image\)"):
        load_images(dataset, image_column="pic")
    with pytest.raises(DataError, match="expected labels in column 'image'"):
        load_images(dataset, label_column="image")


# Labels and images that are missing


def test_unlabeled_split_is_refused_and_left_out_of_all_splits():
    splits = DatasetDict(train=in_memory([0, 1], ["a", "b"]), test=in_memory([0, 0], ["a", "b"]))
    splits["test"] = splits["test"].map(lambda row: {"label": -1}, keep_in_memory=True)
    assert set(load_image_splits(splits)) == {"train"}
    with pytest.raises(DataError, match=r"split 'test': expected a label for each of 2 images, found 2 without"):
        load_images(splits, "test")
    with pytest.raises(DataError, match="split 'test'"):
        load_image_splits(DatasetDict(test=splits["test"]))
    splits["test"] = splits["test"].remove_columns("label")
    assert set(load_image_splits(splits)) == {"train"}
    with pytest.raises(DataError, match="expected one label column, found none"):
        load_images(splits, "test")


@pytest.mark.parametrize("labels", [["a", None], [1, None]])
def test_null_labels(labels):
    with pytest.raises(DataError, match="found 1 without one"):
        load_images(Dataset.from_dict({"image": [png(0), png(1)], "label": labels}))


def test_empty_split():
    with pytest.raises(DataError, match="found no rows"):
        load_images(in_memory([0]).select([]))


@pytest.mark.parametrize("damage", [b"not an image", b"", png(0)[:45]])
def test_undecodable_images_are_named(damage):
    dataset = Dataset.from_dict({"image": [damage, png(1)], "label": [0, 1]})
    with pytest.raises(DataError, match=r"in memory, split 'train': expected an image in row 0, found bytes"):
        load_images(dataset)
    loaded = load_images(Dataset.from_dict({"image": [png(1), damage], "label": [0, 1]}))
    with pytest.raises(DataError, match="photos: expected an image in row 1"):
        read_images(loaded, [0, 1], name="photos")


def test_missing_image():
    loaded = load_images(Dataset.from_dict({"image": [png(1), None], "label": [0, 1]}))
    with pytest.raises(DataError, match="expected an image in row 1"):
        read_images(loaded, [1])


def test_image_modes():
    deep = Image.fromarray(np.array([[0, 1000, 65535]], dtype=np.uint16))
    dataset = Dataset.from_dict(
        {
            "image": [deep, plain_image(9).convert("L"), plain_image(9).convert("RGBA"), plain_image(9).convert("P")],
            "label": [0] * 4,
        },
        features=Features({"image": ImageFeature(), "label": Value("int64")}),
    )
    images = read_images(load_images(dataset), range(4))
    assert {image.mode for image in images} == {"RGB"}
    assert np.asarray(images[0])[0, :, 0].tolist() == [0, 3, 255]  # scaled, not clipped
    assert {image.mode for image in read_images(load_images(dataset), range(4), mode="L")} == {"L"}


# Sources that are not there


@pytest.mark.parametrize(
    "source", ["/no/such/folder", "no-such-name", "./here", "a/b/c", "missing.parquet", "a/b.parquet"]
)
def test_missing_path(source):
    with pytest.raises(DataError, match="found no such path; check the spelling"):
        load_images(source)


@pytest.mark.parametrize("source", ["", None, 7, [1]])
def test_sources_of_no_known_kind(source):
    with pytest.raises(DataError, match="expected a Hub id, a path"):
        load_images(source)


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(DataError, match=r"expected a folder or a \.parquet file, found a file 'a\.csv'"):
        load_images(tmp_path / "a.csv")


def test_split_has_to_be_chosen():
    splits = DatasetDict(train=in_memory([0]), test=in_memory([1]))
    with pytest.raises(DataError, match=r"expected a choice of split, found 'train', 'test'; pass split"):
        load_images(splits)


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize("revision", [None, "abc"])
def test_hub_dataset_without_network_fails_fast(tmp_path, monkeypatch, offline, revision):
    # Nobody listens there: the connection is refused at once, as without a network.
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", offline)
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"'some/dataset': expected the Hub to answer or a cached copy"):
        load_images("some/dataset", revision=revision, cache_dir=tmp_path)
    assert time.perf_counter() - start < 5
    assert datasets.config.HF_HUB_OFFLINE is offline


# Against a model's head


def test_classes_that_fit_are_left_alone():
    dataset = in_memory([0, 1], ["cat", "dog"])
    for id2label in (None, {0: "LABEL_0", 1: "LABEL_1"}, {0: "Cat", 1: "dog"}):
        assert head_ids(dataset, 2, id2label) == [0, 1]
    assert head_ids(in_memory([0, 1]), 7) == [0, 1]


def test_classes_in_another_order_are_translated():
    dataset = in_memory([0, 1, 2, 0], ["a cat", "dog", "emu"])
    assert head_ids(dataset, 3, {"0": "dog", "1": "emu", "2": "A_Cat"}) == [2, 0, 1, 2]


def test_numbers_sorted_as_text_are_translated(tmp_path):
    write_folder(tmp_path, {str(i): 1 for i in range(11)})
    dataset = load_images(tmp_path)
    ids = head_ids(dataset, 11, {i: str(i) for i in range(11)})
    assert [value // 10 for value in values(dataset)] == ids


def test_classes_that_do_not_fit():
    with pytest.raises(DataError, match=r"expected the 3 classes of the model's head, found 2 \('cat', 'dog'\)"):
        head_ids(in_memory([0], ["cat", "dog"]), 3)
    with pytest.raises(DataError, match=r"expected labels from 0 to 1.*found 5"):
        head_ids(in_memory([0, 5]), 2)
    with pytest.raises(DataError, match=r"found 'cat', 'dog' under other ids.*'emu'"):
        head_ids(in_memory([0], ["cat", "dog", "emu"]), 3, {0: "dog", 1: "cat", 2: "fox"})
