"""Shared fixtures: tiny ViTs of one base, as models and as folders. No network, no user cache."""

import os
import tempfile

_HOME = tempfile.TemporaryDirectory(prefix="qvec-tests-")
# Read by huggingface_hub when it is imported, so set before anything else.
os.environ.update(HF_HOME=_HOME.name, HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1")

import copy  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from dataclasses import replace  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from transformers import ViTConfig, ViTForImageClassification  # noqa: E402

import qvec_hub as qv  # noqa: E402
from qvec_hub.rounding.registry import ROUNDINGS  # noqa: E402

transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(int(os.environ.get("QVEC_TEST_THREADS", "1")))  # what holds with one must hold with several


def tiny_config(**changes: object) -> ViTConfig:
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 56,
        "image_size": 16,
        "patch_size": 4,
        "num_labels": 5,
    }
    return ViTConfig(**{**sizes, **changes})


def fine_tuned(model: ViTForImageClassification, amount: float, seed: int) -> ViTForImageClassification:
    """A stand-in for a fine-tune: the same model with every weight moved a little."""
    generator = torch.Generator().manual_seed(seed)
    model = copy.deepcopy(model).eval()
    for parameter in model.parameters():
        parameter.data += amount * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture(scope="session")
def base() -> ViTForImageClassification:
    torch.manual_seed(0)
    model = ViTForImageClassification(tiny_config()).eval()
    for parameter in model.parameters():  # weights large enough for logits that differ
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


@pytest.fixture(scope="session")
def finetuned(base: ViTForImageClassification) -> ViTForImageClassification:
    return fine_tuned(base, 0.003, seed=1)


@pytest.fixture(scope="session")
def qat(base: ViTForImageClassification) -> ViTForImageClassification:
    return fine_tuned(base, 0.006, seed=2)


@pytest.fixture
def receiver(base: ViTForImageClassification) -> ViTForImageClassification:
    return fine_tuned(base, 0.004, seed=3)


@pytest.fixture
def receiver_folder(receiver: ViTForImageClassification, tmp_path: Path) -> Path:
    receiver.save_pretrained(tmp_path / "receiver")
    return tmp_path / "receiver"


@pytest.fixture(scope="session")
def vector(base, finetuned, qat) -> qv.QuantizationVector:
    return qv.QuantizationVector.extract(
        finetuned, qat, base, donor={"task": "toys"}, recipe={"name": "ste"}, grid="int3"
    )


@pytest.fixture
def vector_folder(vector: qv.QuantizationVector, tmp_path: Path) -> Path:
    vector.save_pretrained(tmp_path / "vector")
    return tmp_path / "vector"


@pytest.fixture(scope="session")
def pixels() -> torch.Tensor:
    return torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(9))


pytest_plugins = ["tests.cli_fixture", "tests.hub_server.fixtures", "tests.hub.library"]


@pytest.fixture
def quick_rounding(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few proxy images, scales and steps of tuning, where the test is not about what these find."""
    slow = [ROUNDINGS.get(name) for name in ("fitted", "tuned")]
    for each in slow:
        ROUNDINGS.remove(each.name)
        ROUNDINGS.add(replace(each, scales=(0.0, 0.5)))
    monkeypatch.setattr("qvec_hub.proxies.model_inputs.LEAST", 64)
    monkeypatch.setattr("qvec_hub.proxies.model_inputs.IMAGES_A_FEATURE", 1)
    monkeypatch.setattr("qvec_hub.rounding.tune_scales.STEPS", 5)
    monkeypatch.setattr("qvec_hub.rounding.fit_scales.ROUNDS", 0)
    monkeypatch.setattr("qvec_hub.rounding.fit_scales.SWEEPS", 1)
    yield
    for each in slow:
        ROUNDINGS.remove(each.name)
        ROUNDINGS.add(each)
