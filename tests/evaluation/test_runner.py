"""`evaluate` against a plain loop, and everything that may not fit together."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict
from PIL import Image
from torch import nn
from transformers import ViTConfig, ViTForImageClassification, ViTModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from qvec_hub.data.images import load_images
from qvec_hub.errors import DataError, QVecError
from qvec_hub.evaluation.images import preprocess
from qvec_hub.evaluation.runner import evaluate, predict


def plain_counts(model: nn.Module, photos, processor) -> tuple[int, int, int]:
    """One image at a time, with Pillow, the processor and nothing of this package."""
    model.eval()
    n = correct = top5 = 0
    for path in sorted(photos.rglob("*.png")):
        label = int(path.parent.name.removeprefix("class_"))
        pixels = processor(images=Image.open(path).convert("RGB"), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            logits = model(pixel_values=pixels).logits[0]
        n += 1
        correct += int(logits.argmax() == label)
        top5 += int(label in logits.topk(5).indices)
    return n, correct, top5


@pytest.mark.parametrize("batch_size", [1, 7, 32, 53, 100])
def test_equals_a_plain_loop(vit, photos, processor, batch_size):
    found = evaluate(vit, photos, processor=processor, batch_size=batch_size, progress=False)
    assert (found.n, found.correct, found.correct_top5) == plain_counts(vit, photos, processor)
    assert found.top1 == found.correct / 53
    assert found.top5 == found.correct_top5 / 53
    assert (found.agreed, found.agreement) == (None, None)
    assert (found.split, found.device, found.image_backend) == ("test", "cpu", "pil")
    assert found.wall_s > 0
    assert {"torch", "transformers", "qvec_hub"} <= set(found.versions)


def test_result_is_ready_for_json(vit, photos, processor):
    found = json.loads(json.dumps(evaluate(vit, photos, processor=processor, limit=10).to_dict()))
    assert found["n"] == 10
    assert found["top1"] == found["correct"] / 10


def test_a_folder_brings_its_model_and_processor(checkpoint, vit, photos, processor):
    found = evaluate(str(checkpoint), photos)
    assert (found.n, found.correct, found.correct_top5) == plain_counts(vit, photos, processor)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_preprocessed_images_give_the_same_counts(vit, other_vit, photos, processor, num_workers):
    images = preprocess(load_images(photos), processor, num_workers=num_workers)
    for model in (vit, other_vit):
        direct = evaluate(model, photos, processor=processor, num_workers=num_workers)
        reused = evaluate(model, images)
        assert (direct.correct, direct.correct_top5) == (reused.correct, reused.correct_top5)
        assert reused.image_backend == "pil"
    limited = evaluate(vit, images, limit=11)
    assert limited.correct == evaluate(vit, photos, processor=processor, limit=11).correct
    assert limited.n == 11


def test_agreement_with_a_model_and_with_its_predictions(vit, other_vit, photos, processor):
    dataset = load_images(photos)
    with_model = evaluate(vit, dataset, processor=processor, reference=other_vit, batch_size=9)
    predictions = predict(other_vit, dataset, processor=processor, batch_size=5)
    with_predictions = evaluate(vit, dataset, processor=processor, reference=predictions)
    agreed = int((predict(vit, dataset, processor=processor) == predictions).sum())
    assert with_model.agreed == with_predictions.agreed == agreed
    assert 0 < agreed < 53
    assert with_model.agreement == agreed / 53
    assert evaluate(vit, dataset, processor=processor, reference=vit).agreement == 1.0
    with pytest.raises(DataError, match="expected 53 predicted label ids"):
        evaluate(vit, dataset, processor=processor, reference=predictions[:-1])
    with pytest.raises(DataError, match="expected 10 predicted label ids"):
        evaluate(vit, dataset, processor=processor, reference=predictions, limit=10)


def test_the_model_and_the_random_state_are_left_as_they_were(vit, photos, processor):
    model = copy.deepcopy(vit)
    model.train()
    model.vit.embeddings.eval()
    before = [module.training for module in model.modules()]
    state = torch.random.get_rng_state()
    first = evaluate(model, photos, processor=processor)
    assert [module.training for module in model.modules()] == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.correct == evaluate(model, photos, processor=processor, batch_size=3).correct
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_half_precision_model(vit, photos, processor):
    model = copy.deepcopy(vit).to(torch.bfloat16)
    assert evaluate(model, photos, processor=processor).n == 53
    assert model.dtype == torch.bfloat16


def test_default_split_is_test_or_the_only_one(vit, photos, processor):
    dataset = load_images(photos)
    splits = DatasetDict(train=dataset.select(range(5)), test=dataset.select(range(6)))
    assert evaluate(vit, splits, processor=processor).n == 6
    assert evaluate(vit, splits, processor=processor, split="train").n == 5
    with pytest.raises(DataError, match="expected a choice of split"):
        evaluate(vit, DatasetDict(train=splits["train"], validation=splits["test"]), processor=processor)
    with pytest.raises(DataError, match="expected a split 'val'"):
        evaluate(vit, splits, processor=processor, split="val")


def test_labels_follow_the_models_names(vit, photos, processor):
    straight = evaluate(vit, photos, processor=processor).correct
    model = copy.deepcopy(vit)
    turned = torch.arange(7).roll(3)  # output i of the turned head is class turned[i]
    model.classifier.weight.data = model.classifier.weight.data[turned]
    model.classifier.bias.data = model.classifier.bias.data[turned]
    model.config.id2label = {i: f"Class {int(turned[i])}" for i in range(7)}
    assert evaluate(model, photos, processor=processor).correct == straight
    assert evaluate(model, preprocess(load_images(photos), processor)).correct == straight


def test_other_classes_than_the_head(vit, photos, processor):
    dataset = load_images(photos)
    more = dataset.cast_column("label", ClassLabel(names=[f"class_{i}" for i in range(9)]))
    with pytest.raises(DataError, match="expected the 7 classes of the model's head, found 9"):
        evaluate(vit, more, processor=processor)
    with pytest.raises(DataError, match="expected the 7 classes of the model's head, found 9"):
        evaluate(vit, preprocess(more, processor))
    bare = Dataset.from_dict({"image": dataset["image"][:2], "label": [0, 7]})
    with pytest.raises(DataError, match=r"expected labels from 0 to 6.*found 7"):
        evaluate(vit, bare, processor=processor)


def test_reference_of_another_task(vit, photos, processor):
    other = ViTForImageClassification(ViTConfig(**{**vit.config.to_dict(), "num_labels": 3, "id2label": None}))
    with pytest.raises(DataError, match="expected the 7 classes of the model, found 3"):
        evaluate(vit, photos, processor=processor, reference=other)


def test_a_model_that_answers_nan(vit, photos, processor):
    model = copy.deepcopy(vit)
    model.vit.layernorm.weight.data[0] = torch.nan
    model.train()
    with pytest.raises(QVecError, match="found NaN for 32 of 32 images; its weights were not loaded"):
        evaluate(model, photos, processor=processor)
    assert model.training
    with pytest.raises(QVecError, match="found NaN"):
        evaluate(vit, photos, processor=processor, reference=model)
    with pytest.raises(QVecError, match="found NaN"):
        predict(model, load_images(photos), processor=processor)


def test_things_that_are_no_fitting_model(vit, photos, processor, tmp_path):
    with pytest.raises(QVecError, match="expected a model, or a folder or Hub id of one, found dict"):
        evaluate({}, photos, processor=processor)
    with pytest.raises(QVecError, match="no-such-folder"):
        evaluate(tmp_path / "no-such-folder", photos, processor=processor)
    with pytest.raises(QVecError, match=r"expected logits \(n, classes\), found none"):
        evaluate(ViTModel(vit.config), photos, processor=processor)
    with pytest.raises(QVecError, match="found a model made in memory; pass processor="):
        evaluate(vit, photos)


def test_images_of_another_size_than_the_models(vit, photos):
    with pytest.raises(QVecError, match=r"expected to take pixel_values of shape \(32, 3, 24, 24\)"):
        evaluate(vit, photos, processor=ViTImageProcessorPil(size={"height": 24, "width": 24}))


@pytest.mark.parametrize("wrong", [{"device": "nonsense"}, {"batch_size": 0}, {"limit": 0}])
def test_wrong_arguments(vit, photos, processor, wrong):
    with pytest.raises(QVecError, match=next(iter(wrong))):
        evaluate(vit, photos, processor=processor, **wrong)


def test_any_callable_may_process(vit, photos):
    def processor(images, return_tensors):
        arrays = [np.asarray(image.resize((16, 16)), dtype=np.float32) / 255 for image in images]
        return {"pixel_values": torch.as_tensor(np.stack(arrays)).permute(0, 3, 1, 2)}

    assert evaluate(vit, photos, processor=processor).image_backend == "custom"
