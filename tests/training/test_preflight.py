"""What can only fail is found before anything is trained, and found again on resume."""

import json
import os
import random
import shutil

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from filelock import FileLock
from PIL import Image as PILImage
from transformers import TrainerCallback, ViTConfig, ViTForImageClassification, ViTImageProcessorPil, ViTModel

import qvec_hub as qv
from qvec_hub.training.donor import train_donor
from qvec_hub.training.pixels import Pixels
from qvec_hub.training.recipes.training_recipe import TrainingRecipe

from .conftest import CLASSES, TINY, images

QUICK = TrainingRecipe(epochs=1, learning_rate=1e-3, warmup_steps=0, batch_size=4)


class Forbidden(TrainerCallback):
    """No run of the training itself may begin."""

    def on_train_begin(self, args, state, control, **kwargs):
        pytest.fail(f"{args.run_name} was begun")


def backbone(**changes):
    torch.manual_seed(0)
    return ViTModel(ViTConfig(**{**TINY, **changes}), add_pooling_layer=False)


def processor(**changes):
    return ViTImageProcessorPil(**{"size": {"height": 16, "width": 16}, **changes})


def labeled(labels, classes=CLASSES, sizes=((16, 16),), mode="RGB"):
    """Images of these sizes in turn; classes None for bare integers."""
    label = Value("int64") if classes is None else ClassLabel(names=list(classes))
    drawn = [PILImage.new(mode, sizes[row % len(sizes)], row) for row in range(len(labels))]
    features = Features({"image": Image(), "label": label})
    return Dataset.from_dict({"image": drawn, "label": labels}, features=features)


GREY = processor(image_mean=[0.5], image_std=[0.5])
KEEPS_ASPECT = {"size": {"shortest_edge": 16}}
RECTANGULAR = {"base": backbone(image_size=(16, 24)), "processor": processor(size={"height": 16, "width": 24})}
FAILS = {
    "one class": ({"dataset": labeled([0] * 8, ["a"])}, "at least two classes .*only 'a'"),
    "one of three classes": ({"dataset": labeled([1] * 8)}, "at least two classes .*only 'red'"),
    "a label of -5": ({"dataset": labeled([0, 1, -5, 2], None)}, "labels from 0, found -5"),
    "labels that are numbers": ({"dataset": labeled([0, 10**6, 1], None)}, "labels up to 1000000;"),
    "classes of the validation": (
        {"dataset": DatasetDict(train=images(8, 0), validation=labeled([0, 3], ["x", "y", "z", "w"]))},
        "the classes of the split 'train' .*found 'x', 'w', which cannot be matched",
    ),
    "uneven images": (
        {"dataset": labeled([0, 1, 2, 0], sizes=((16, 16), (20, 16))), "processor": processor(**KEEPS_ASPECT)},
        r"one size, found \(3, 16, 16\) and, of image 1, \(3, 16, 20\)",
    ),
    "uneven validation images": (
        {
            "dataset": DatasetDict(train=images(8, 0), validation=labeled([0, 1], sizes=((16, 16), (16, 24)))),
            "processor": processor(**KEEPS_ASPECT),
        },
        r"validation: .*of image 1, \(3, 24, 16\)",
    ),
    "images that are not square": (
        {"dataset": labeled([0, 1, 2], sizes=((24, 16),)), "processor": processor(**KEEPS_ASPECT)},
        r"\(3, 16, 24\), which the model refuses",
    ),
    "a processor for grey images": ({"processor": GREY}, "refuses image 0 as RGB"),
    "a processor for colour images": ({"base": backbone(num_channels=1)}, "refuses image 0 as L"),
    "a mean that is no number": ({"processor": processor(image_mean=[float("nan")] * 3)}, "NaN or infinity"),
    "a function for a processor": (
        {"processor": lambda drawn, **how: {"pixel_values": torch.zeros(len(drawn), 3, 16, 16)}},
        "that can be saved",
    ),
    "shared images of a rectangle": ({**RECTANGULAR, "share_images": 4}, r"square images .*image_size \[16, 24\]"),
    "too many shared images": ({"share_images": 513}, "from 1 to 512, found 513"),
    "fewer than no shared images": ({"share_images": -3}, "from 1 to 512, found -3"),
    "half a shared image": ({"share_images": 4.5}, "from 1 to 512, found 4.5"),
    "a quantized base": ({"base": qv.quantize_(ViTForImageClassification(ViTConfig(**TINY)), "int3")}, "PackedLinear"),
    "a task that is a number": ({"task": 5}, "task: expected a string"),
    "a task that moves the cursor": ({"task": "a\x1b[31m"}, "control characters"),
    "settings for a recipe": ({"recipe": {"epochs": 1}}, "expected a TrainingRecipe, found dict"),
    "no folder": ({"out": None}, "out: expected a folder, found None"),
    "a callback that is none": ({"callbacks": ["x"]}, "expected a sequence of transformers.TrainerCallback"),
    "-1 workers": ({"arguments": {"dataloader_num_workers": -1}}, "num_workers"),
    "a reporter that is not installed": ({"arguments": {"report_to": ["swanlab"]}}, "(?i)swanlab"),
    "an optimizer that is not installed": (
        {"recipe": TrainingRecipe(epochs=1, warmup_steps=0, optimizer="galore_adamw")},
        "expected a first step",
    ),
    "another learning rate": ({"arguments": {"learning_rate": 5.0}}, "learning_rate=5.0 contradicts the recipe"),
    "another batch": ({"arguments": {"per_device_train_batch_size": 1}}, "set the recipe's batch_size"),
    "another folder": ({"arguments": {"output_dir": "elsewhere"}}, "output_dir='elsewhere' is not for a donor"),
    "fewer steps": ({"arguments": {"max_steps": 1}}, "max_steps=1 is not for a donor"),
    "publishing": ({"arguments": {"push_to_hub": True}}, "push_to_hub=True is not for a donor"),
    "arguments in a list": ({"arguments": [1]}, "expected a mapping"),
}  # fmt: skip


@pytest.mark.parametrize("what", FAILS)
def test_what_can_only_fail_is_found_before_training(what, tmp_path) -> None:
    changes, message = FAILS[what]
    out = tmp_path / "out"
    call = {
        "base": backbone(),
        "dataset": images(8, 0),
        "out": out,
        "recipe": QUICK,
        "processor": processor(),
        **changes,
    }
    call.setdefault("callbacks", [Forbidden()])
    with pytest.raises(qv.QVecError, match=message):
        train_donor(**call)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_it_is_found_again_on_resume(tmp_path) -> None:
    """A first run that was stopped, then a change of mind that cannot work."""

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            raise ZeroDivisionError

    call = {"recipe": QUICK, "processor": processor(), "callbacks": [Stop()]}
    with pytest.raises(ZeroDivisionError):  # a callback's own error passes as it is
        train_donor(backbone(), images(8, 0), tmp_path, **call)
    call |= {"callbacks": [Forbidden()], "resume": True, "share_images": 600}
    with pytest.raises(qv.QVecError, match="from 1 to 512"):
        train_donor(backbone(), images(8, 0), tmp_path, **call)


def test_an_image_of_another_size_in_a_set_too_large_to_keep() -> None:
    late = labeled([0, 1, 2, 0, 1], sizes=((16, 16), (16, 16), (16, 16), (16, 16), (40, 16)))
    with pytest.raises(qv.QVecError, match=r"of image 4, \(3, 16, 40\)"):
        Pixels(late, processor(**KEEPS_ASPECT), "x", memory=0)
    Pixels(late, processor(), "x", memory=0)  # brings all to one size


def test_a_model_of_one_channel_trains_on_grey_images(tmp_path) -> None:
    colour = DatasetDict(train=images(12, 0), validation=images(6, 1))
    grey, base = GREY, backbone(num_channels=1)
    donor = train_donor(base, colour, tmp_path / "out", recipe=QUICK, processor=grey, share_images=3)
    model = ViTForImageClassification.from_pretrained(donor.fp)
    lumas = [image.convert("L") for image in colour["validation"]["image"]]
    pixels = torch.stack([torch.tensor(np.asarray(luma) / 255 - 0.5).float() / 0.5 for luma in lumas])[:, None]
    with torch.no_grad():
        right = int((model(pixels).logits.argmax(1) == torch.tensor(colour["validation"]["label"])).sum())
    assert (donor.scores["fp"].n, donor.scores["fp"].correct) == (6, right)
    assert qv.evaluate(donor.fp, colour["validation"], processor=grey).correct == right
    assert qv.QuantizationVector.from_pretrained(donor.vector).images().shape == (3, 16, 16, 3)


def test_validation_classes_in_another_order_are_matched_by_name(tmp_path) -> None:
    train, validation = images(24, 0), images(9, 1)
    names = ["green", "dark", "red"]
    ids = [names.index(CLASSES[label]) for label in validation["label"]]
    features = Features({"image": Image(), "label": ClassLabel(names=names)})
    moved = Dataset.from_dict({"image": list(validation["image"]), "label": ids}, features=features)
    call = {"recipe": QUICK, "processor": processor()}
    plain = train_donor(backbone(), DatasetDict(train=train, validation=validation), tmp_path / "a", **call)
    again = train_donor(backbone(), DatasetDict(train=train, validation=moved), tmp_path / "b", **call)
    assert again.scores == plain.scores


def test_a_class_that_only_the_validation_has_is_told(tmp_path) -> None:
    dataset = DatasetDict(train=labeled([0, 1] * 4), validation=labeled([0, 2]))
    with pytest.warns(UserWarning, match=r"1 classes of the validation split have no image .*green"):
        train_donor(backbone(), dataset, tmp_path / "out", recipe=QUICK, processor=processor())


def test_a_full_disk_is_seen_before_training(tmp_path, monkeypatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=1000))
    with pytest.raises(qv.QVecError, match=r"for 3 models and vectors, found 0.0 MB free"):
        train_donor(backbone(), images(8, 0), tmp_path / "out", recipe=QUICK, processor=processor())


def test_a_second_training_in_the_same_folder_is_refused(tmp_path) -> None:
    class Second(TrainerCallback):
        """Begins the same training while the first is at it."""

        refused = 0

        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 1:
                with pytest.raises(qv.QVecError, match="another training is writing to it"):
                    train_donor(*call, resume=True, recipe=QUICK, processor=processor())
                self.refused += 1

    call, second = (backbone(), images(8, 0), tmp_path / "out"), Second()
    donor = train_donor(*call, recipe=QUICK, processor=processor(), callbacks=[second])
    assert second.refused == 2
    assert sorted(path.name for path in donor.fp.parent.iterdir()) == ["fp", "qat", "training.json", "vector"]
    with FileLock(tmp_path / "out" / ".training.lock", timeout=0):  # and it is free again
        pass


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_the_process_is_as_before(ends, tmp_path) -> None:
    class Break(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            os.environ["QVEC_TEST_LEFT"] = "1"
            if ends == "badly":
                raise KeyboardInterrupt

    def state():
        drawn = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
        switches = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
        return drawn, switches, dict(os.environ), torch.get_num_threads(), dict(AcceleratorState._shared_state)

    base, dataset = backbone(), images(8, 0)
    before = state()
    call = {"recipe": TrainingRecipe(**{**QUICK.to_dict(), "precision": "bf16"}), "processor": processor()}
    try:
        train_donor(base, dataset, tmp_path, callbacks=[Break()], arguments={"full_determinism": True}, **call)
    except KeyboardInterrupt:
        assert ends == "badly"
    assert state() == before


def test_a_folder_is_found_in_the_home(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    donor = train_donor(backbone(), images(8, 0), "~/donor", recipe=QUICK, processor=processor())
    assert donor.vector == tmp_path / "donor" / "vector"
    assert json.loads((tmp_path / "donor" / "training.json").read_text())["train_images"] == 8
