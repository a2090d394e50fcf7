"""Class names: of a dataset against a model's head, of one split against another; right ids or a clear error."""

from __future__ import annotations

import copy
import unicodedata

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from datasets import Image as ImageFeature
from PIL import Image
from transformers import ViTForImageClassification

from qvec_hub.data.classes import class_names
from qvec_hub.data.images import load_image_splits, load_images
from qvec_hub.errors import DataError
from qvec_hub.evaluation.images import preprocess
from qvec_hub.evaluation.runner import evaluate
from qvec_hub.training.start import starting_model
from tests.conftest import tiny_config

from .heads import head_ids

BELL = "Glöckchen"
MAC = unicodedata.normalize("NFD", BELL)
NUMBERS = [str(i) for i in range(12)]
AS_TEXT = sorted(NUMBERS)  # 0, 1, 10, 11, 2, …


def of(labels, feature) -> Dataset:
    drawn = [Image.new("RGB", (4, 4), (i, i, i)) for i in range(len(labels))]
    features = Features({"image": ImageFeature(), "label": feature})
    return Dataset.from_dict({"image": drawn, "label": labels}, features=features)


def named(names, labels=None) -> Dataset:
    return of(list(range(len(names))) if labels is None else labels, ClassLabel(names=names))


def as_dict(names) -> dict:
    return dict(enumerate(names))


@pytest.mark.parametrize(
    ("names", "outputs"),
    [
        (["cat", "dog", "emu"], ["emu", "cat", "dog"]),
        (["cat", MAC, "emu"], ["emu", BELL, "cat"]),
        (["cat", BELL], [MAC, "cat"]),
        ([" cat", "dog\u200b", "\ufeffemu "], ["emu", "dog", "cat"]),
        (["A_Cat", "DOG", "sea-lion"], ["sea lion", "a cat", "dog"]),
        (["A", "a"], ["a", "A"]),  # names that differ by case alone are told apart where both sides do
        (AS_TEXT, NUMBERS),
        (["00", "01", "10", "11"], ["11", "10", "1", "0"]),
        (["LABEL_1", "LABEL_0"], ["LABEL_0", "LABEL_1"]),
        (["emu", "cat"], ["cat", "dog", "emu"]),  # a test set that lacks a class
        (["ＣＡＴ", "dog"], ["dog", "cat"]),
    ],
)
def test_labels_are_matched_by_name(names, outputs):
    wanted = [
        next(i for i, out in enumerate(outputs) if out == name)
        if name in outputs
        else [plain(out) for out in outputs].index(plain(name))
        for name in names
    ]
    dataset = named(names)
    for id2label in (as_dict(outputs), {str(i): name for i, name in enumerate(outputs)}):
        assert head_ids(dataset, len(outputs), id2label) == wanted


def plain(name: str) -> str:
    """Written independently of the package: letters and digits only."""
    letters = "".join(c for c in unicodedata.normalize("NFKC", name) if c.isalnum()).lower()
    return letters.lstrip("0") or "0"


@pytest.mark.parametrize(
    ("names", "id2label"),
    [
        (["cat", "dog"], {0: "LABEL_0", 1: "LABEL_1"}),
        (["cat", "dog"], {0: "0", 1: "1"}),
        (["0", "1"], {0: "cat", 1: "dog"}),
        (["False", "True"], {0: "cat", 1: "dog"}),
        (["00", "01", "02"], {i: f"LABEL_{i}" for i in range(3)}),
        (["1", "2", "4"], {i: f"LABEL_{i}" for i in range(3)}),  # in the order of numbers and of text alike
        (["cat", "dog"], {}),
        (["crane", "dog"], {0: "crane", 1: "dog"}),
        (["cat", "dog"], {"3": "LABEL_3", "4": "LABEL_4"}),
    ],
)
def test_placeholders_say_nothing(names, id2label):
    dataset = named(names)
    assert head_ids(dataset, len(names), id2label) == dataset["label"][:]


@pytest.mark.parametrize(
    ("names", "id2label", "message"),
    [
        (["cat", "dog"], {0: "tabby", 1: "poodle"}, r"found 'cat', 'dog', which cannot be matched .*id2label"),
        (["cat", "dog", "emu"], {0: "cat", 1: "dog", 2: "fox"}, r"'fox'\), found 'emu', which cannot be matched"),
        (["cat", "dog", "emu"], {0: "cat", 1: "dog"}, "expected the 2 classes of the model's head, found 3"),
        (["cat", "yak"], {0: "cat", 1: "dog", 2: "emu"}, "found 'yak', which cannot be matched"),
        (AS_TEXT, {i: f"LABEL_{i}" for i in range(12)}, "numbers sorted as text .*id2label"),
        (AS_TEXT, None, "numbers sorted as text"),
        (AS_TEXT, as_dict("abcdefghijkl"), "cannot be matched"),
        ([str(i) for i in range(1, 13)], as_dict(NUMBERS), "under other ids"),
        (["A", "a"], {0: "A", 1: "A"}, "under other ids|cannot be matched"),
        (["cat", "dog"], {0: "dog", 1: "dog"}, "found 'cat', which cannot be matched"),
        (["cat", "dog"], {1: "cat", 2: "dog"}, "a name for each output from 0 to 1 in id2label, found names for 1, 2"),
        (["cat", "dog"], {0: "cat"}, "a name for each output"),
        (["cat", "dog"], {"0": "cat", 0: "dog", 1: "emu"}, "a name for each output"),
        (["cat", "dog"], {"first": "cat", "second": "dog"}, "expected ids as the keys of id2label"),
    ],
)
def test_names_that_cannot_be_matched(names, id2label, message):
    outputs = 2 if len(names) == 2 and id2label and len(id2label) != 3 else max(len(id2label or names), 2)
    outputs = 2 if id2label in ({0: "cat"}, {"0": "cat", 0: "dog", 1: "emu"}) else outputs
    with pytest.raises(DataError, match=message):
        head_ids(named(names), outputs, id2label)


def test_id2label_and_label2id_must_agree():
    names = ["cat", "dog"]
    with pytest.raises(DataError, match="id2label and label2id to agree, found output 0 called 'cat'"):
        head_ids(named(names), 2, as_dict(names), {"cat": 1, "dog": 0})
    for fine in ({"cat": "0", "dog": "1"}, {"LABEL_0": 0}, {}):
        assert head_ids(named(names), 2, as_dict(names), fine) == [0, 1]


def test_an_imagenet_has_two_cranes():
    names = ["crane", "dog", "crane"]  # datasets refuses such a ClassLabel, models have them
    assert head_ids(named(["dog"], [0]), 3, as_dict(names)) == [1]
    with pytest.raises(DataError, match=r"cannot be matched|under other ids"):
        head_ids(named(["crane", "dog"], [0, 1]), 3, as_dict(names))


@pytest.mark.parametrize(
    ("labels", "outputs", "wanted"),
    [
        ([0, 1, 1], ["1", "2"], [0, 1, 1]),  # ids: there is no class called 0
        ([1, 2, 2], ["1", "2"], [0, 1, 1]),  # names: there is no output 2
        ([0, 2], ["0", "1", "2"], [0, 2]),
        ([1, 0], ["a", "b"], [1, 0]),
        ([1, 1], ["1", "2"], "only be ids or only be names"),
        ([2, 3], ["a", "b", "c"], "expected labels from 0 to 2"),
        ([1, 2, 3], ["a", "b", "c"], "count the labels from 0, not from 1"),
    ],
)
def test_bare_integers(labels, outputs, wanted):
    dataset = of(labels, Value("int64"))
    if isinstance(wanted, str):
        with pytest.raises(DataError, match=wanted):
            head_ids(dataset, len(outputs), as_dict(outputs))
    else:
        assert head_ids(dataset, len(outputs), as_dict(outputs)) == wanted


TRAIN = ["cat", "dog", BELL]


@pytest.mark.parametrize(
    ("feature", "labels", "wanted"),
    [
        (ClassLabel(names=["dog", BELL, "cat"]), [0, 1, 2], [1, 2, 0]),
        (ClassLabel(names=["dog", "cat"]), [0, 1, 1], [1, 0, 0]),
        (ClassLabel(names=["Dog", MAC, " cat"]), [0, 1, 2], [1, 2, 0]),
        (ClassLabel(names=["dog", "yak", "cat"]), [0, 2, 2], [1, 0, 0]),  # no image of a yak
        (ClassLabel(names=["0", "1", "2"]), [2, 0, 1], [2, 0, 1]),
        (Value("string"), ["dog", MAC, "cat"], [1, 2, 0]),
        (Value("string"), ["dog", BELL, MAC], [1, 2, 2]),
        (Value("int64"), [2, 0, 1], [2, 0, 1]),
        (ClassLabel(names=["dog", "yak", "cat"]), [0, 1, 2], r"split 'train' \('cat', 'dog', .*found 'yak'"),
        (Value("string"), ["dog", "yak"], "found 'yak'"),
        (Value("int64"), [0, 3], "labels from 0 to 2, since so many classes have names, found 3"),
    ],
)
@pytest.mark.parametrize("both", [True, False])
def test_splits_are_counted_alike(feature, labels, wanted, both):
    splits = DatasetDict(validation=of(labels, feature), train=named(TRAIN))

    def load():
        return load_image_splits(splits)["validation"] if both else load_images(splits, "validation")

    if isinstance(wanted, str):
        with pytest.raises(DataError, match=wanted):
            load()
        return
    assert load()["label"][:] == wanted
    assert class_names(load()) == TRAIN


@pytest.mark.parametrize(
    ("train", "other", "names", "ids"),
    [
        (["b", "a"], ["a", "c"], ["a", "b", "c"], [0, 2]),
        (["Cat", "dog"], ["cat", "DOG"], ["Cat", "dog"], [0, 1]),
        (["Cat", "cat"], ["cat", "Cat"], ["Cat", "cat"], [1, 0]),
        (["1", "2", "10"], ["01", "10"], ["1", "10", "2"], [0, 1]),
        ([BELL, "a"], [MAC, "a "], [BELL, "a"], [0, 1]),
        (["Cat", "cat"], ["CAT"], "found 'CAT', which may be any of 'Cat', 'cat'", None),
    ],
)
def test_text_labels_of_two_splits(train, other, names, ids, tmp_path):
    text = Value("string")
    splits = DatasetDict(test=of(other, text), train=of(train, text))
    for split, folders in {"train": train, "test": other}.items():
        for i, name in enumerate(folders):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (4, 4)).save(tmp_path / split / name / f"{i}.png")
    for source in (splits, tmp_path):
        if ids is None:
            with pytest.raises(DataError, match=names):
                load_images(source, "test")
            continue
        found = load_images(source, "test")
        assert sorted(class_names(found)) == sorted(names)
        assert sorted(class_names(found)[label] for label in found["label"]) == sorted(names[i] for i in ids)


@pytest.mark.parametrize(
    ("labels", "feature", "message"),
    [
        ([0, -1], Value("int64"), "found 1 without one"),
        ([0, -2], Value("int64"), "expected labels from 0, found -2"),
        ([0, None], Value("int64"), "found 1 without one"),
        (["a", " "], Value("string"), "found 1 without one"),
        ([0, 2**40], Value("int64"), "expected labels from 0"),
        ([0.0, 1.0], Value("float64"), r"expected one label column.*'label' \(float64\)"),
        ([None, None], Value("null"), "expected one label column"),
    ],
)
def test_labels_that_are_none(labels, feature, message):
    with pytest.raises(DataError, match=message):
        load_images(of(labels, feature))


def test_true_and_false():
    dataset = load_images(of([True, False], Value("bool")))
    assert (dataset["label"][:], class_names(dataset)) == ([1, 0], ["False", "True"])
    assert head_ids(dataset, 2, {0: "true", 1: "false"}) == [0, 1]


@pytest.fixture
def turned(base):
    """The same network with its outputs, and their names, in another order."""
    one, other = copy.deepcopy(base), copy.deepcopy(base)
    names = ["ant", "bee", BELL, "dog", "emu"]
    order = [3, 0, 4, 2, 1]
    for model, own in ((one, names), (other, [names[i] for i in order])):
        model.config.id2label = as_dict(own)
        model.config.label2id = {name: i for i, name in enumerate(own)}
    other.classifier.weight.data = one.classifier.weight.data[order]
    other.classifier.bias.data = one.classifier.bias.data[order]
    return one, other


def test_counts_do_not_depend_on_the_order_of_outputs(turned):
    generator = np.random.default_rng(0)
    names = ["emu", "dog", MAC, "bee", "ant"]
    drawn = [Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(40)]
    dataset = Dataset.from_dict({"image": drawn, "label": [names[i % 5] for i in range(40)]})

    def processor(images, return_tensors):
        pixels = torch.stack([torch.tensor(np.asarray(image)) for image in images])
        return {"pixel_values": pixels.permute(0, 3, 1, 2) / 127.5 - 1}

    one, other = turned
    with torch.no_grad():
        logits = one(processor([*drawn], "pt")["pixel_values"]).logits
    said = [one.config.id2label[int(i)] for i in logits.argmax(1)]
    right = sum(name == unicodedata.normalize("NFC", names[i % 5]) for i, name in enumerate(said))
    images = preprocess(load_images(dataset), processor)
    for model, reference in ((one, other), (other, one)):
        found = evaluate(model, dataset, processor=processor, reference=reference, progress=False)
        assert (found.correct, found.agreed) == (right, 40)
        assert evaluate(model, images, progress=False).correct == right
    other.config.id2label = as_dict("vwxyz")
    with pytest.raises(DataError, match="reference: expected a model of the same classes"):
        evaluate(one, dataset, processor=processor, reference=other, progress=False)


def test_a_head_that_comes_with_the_base_keeps_its_meaning(turned):
    one, other = turned
    classes = [one.config.id2label[i] for i in range(5)]
    start = starting_model(other, classes, seed=0)
    assert start.config.id2label == as_dict(classes)
    assert torch.equal(start.classifier.weight, one.classifier.weight)
    assert torch.equal(start.classifier.bias, one.classifier.bias)
    unnamed = ViTForImageClassification(tiny_config())
    assert torch.equal(starting_model(unnamed, classes, 0).classifier.weight, unnamed.classifier.weight)
