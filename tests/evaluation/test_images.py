"""Processors, and pixel values made once."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from datasets import Dataset, concatenate_datasets
from PIL import Image
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from qvec_hub.backbone.processor import load_processor, require_processor
from qvec_hub.data.images import load_images, read_images
from qvec_hub.errors import DataError, QVecError
from qvec_hub.evaluation.images import image_backend, preprocess, rows_to_take


def test_preprocess_equals_one_image_at_a_time(photos, processor):
    dataset = load_images(photos)
    found = preprocess(dataset, processor)
    assert found.pixel_values.shape == (53, 3, 16, 16)
    assert found.labels.tolist() == dataset["label"][:]
    assert found.names == [f"class_{i}" for i in range(7)]
    for row in range(len(dataset)):
        alone = processor(images=read_images(dataset, [row])[0], return_tensors="pt")["pixel_values"]
        assert torch.equal(found.pixel_values[row], alone[0])


def test_limit_is_spread_evenly(photos, processor):
    dataset = load_images(photos)
    found = preprocess(dataset, processor, limit=14)
    assert sorted(set(found.labels.tolist())) == [0, 1, 2, 3, 4, 5, 6]
    assert rows_to_take(10, 4) == [0, 2, 5, 7]
    assert rows_to_take(3, 9) == [0, 1, 2]
    with pytest.raises(QVecError, match="at least 1, found 0"):
        rows_to_take(3, 0)


def test_one_channel(photos):
    gray = ViTImageProcessorPil(size={"height": 16, "width": 16}, image_mean=[0.5], image_std=[0.5])
    assert preprocess(load_images(photos), gray, mode="L", limit=3).pixel_values.shape == (3, 1, 16, 16)
    colour = ViTImageProcessorPil(size={"height": 16, "width": 16})
    with pytest.raises(QVecError, match="expected pixel_values of one size for images of mode L"):
        preprocess(load_images(photos), colour, mode="L")


def test_images_that_keep_their_sizes(photos):
    as_they_are = ViTImageProcessorPil(do_resize=False)
    with pytest.raises(QVecError, match="expected pixel_values of one size"):
        preprocess(load_images(photos), as_they_are)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_undecodable_image_is_named_also_by_workers(processor, num_workers):
    image = Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8))
    dataset = load_images(Dataset.from_dict({"image": [image] * 3, "label": [0, 1, 2]}))
    bad = Dataset.from_dict({"image": [b"nonsense"], "label": [3]}, features=dataset.features)
    with pytest.raises(DataError, match="expected an image in row 3") as caught:
        preprocess(concatenate_datasets([dataset, bad]), processor, num_workers=num_workers)
    assert "Traceback" not in str(caught.value)


def test_processor_of_a_checkpoint(checkpoint, vit):
    found = load_processor(checkpoint)
    assert (found.size["height"], image_backend(found)) == (16, "pil")
    assert image_backend(lambda images, return_tensors: {}) == "custom"


def test_processor_under_its_old_name(tmp_path, vit):
    old = {"image_processor_type": "ViTFeatureExtractor", "size": {"height": 16, "width": 16}, "image_mean": [0.1] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    found = load_processor(tmp_path)
    assert (found.size["height"], list(found.image_mean), image_backend(found)) == (16, [0.1] * 3, "pil")


def test_no_processor(tmp_path, vit):
    with pytest.raises(QVecError, match="found a model made in memory; pass processor="):
        require_processor(vit)
    with pytest.raises(QVecError, match=r"expected an image processor \(preprocessor_config.json\).*pass processor="):
        load_processor(tmp_path)
