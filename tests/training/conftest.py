"""Tiny models and image sets: everything here runs in seconds on one core."""

import gc
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image
from PIL import Image as PILImage
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil, ViTModel

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 16,
    "patch_size": 8,
}
CLASSES = ["dark", "red", "green"]


@pytest.fixture
def tiny_config():
    return ViTConfig(**TINY, num_labels=3)


@pytest.fixture
def tiny_vit(tiny_config):
    torch.manual_seed(0)
    return ViTForImageClassification(tiny_config)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny models only lose by a second thread, and the Trainer collects garbage after every run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.freeze()
    yield
    gc.unfreeze()
    torch.set_num_threads(threads)


@pytest.fixture
def processor():
    return ViTImageProcessorPil(size={"height": 16, "width": 16})


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A headless backbone in a folder, as the Hub has them."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "base"
    ViTModel(ViTConfig(**TINY), add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


@pytest.fixture
def own_base(base, tmp_path):
    """A copy of the base, to be damaged."""
    return Path(shutil.copytree(base, tmp_path / "base"))


def images(count, seed, classes=CLASSES):
    """Noise with the class's colour channel lit."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(classes), count)
    pixels = random.integers(0, 128, (count, 16, 16, 3))
    for image, label in zip(pixels, labels, strict=True):
        if label:
            image[..., label - 1] += 120
    features = Features({"image": Image(), "label": ClassLabel(names=classes)})
    rows = {"image": [PILImage.fromarray(p) for p in pixels.astype(np.uint8)], "label": labels.tolist()}
    return Dataset.from_dict(rows, features=features)


@pytest.fixture(scope="session")
def dataset():
    return DatasetDict({"train": images(22, 0), "validation": images(9, 1)})
