"""The same codes whatever a caller's settings are, and the caller's settings as they were."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageClassification

import qvec_hub as qv
from qvec_hub import Grid
from qvec_hub.backbone.conditions import on_copies
from tests.conftest import fine_tuned

GRID = Grid.parse("int2-channel-mse-affine")

pytestmark = pytest.mark.usefixtures("quick_rounding")


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


SETTINGS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "none": nullcontext,
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float64 by default": lambda: default_dtype(torch.float64),
    "meta by default": lambda: torch.device("meta"),
    "cpu by default": lambda: torch.device("cpu"),
    "deterministic algorithms": deterministic,
}


def caller_state() -> dict[str, object]:
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "random": torch.random.get_rng_state().tolist(),
    }


def by_hand(folder: Path, vector: qv.QuantizationVector, receiver) -> torch.nn.Module:
    return qv.quantize_(copy.deepcopy(receiver), GRID, rounding="tuned")


def by_plugin(folder: Path, vector: qv.QuantizationVector, receiver) -> torch.nn.Module:
    return qv.from_pretrained(folder, vector=[vector, 0.5 * vector], weights="int2")


def by_transformers(folder: Path, vector: qv.QuantizationVector, receiver) -> torch.nn.Module:
    config = qv.QVecConfig([vector, 0.5 * vector], "int2")
    return AutoModelForImageClassification.from_pretrained(folder, quantization_config=config, dtype=torch.float32)


def by_nearest(folder: Path, vector: qv.QuantizationVector, receiver) -> torch.nn.Module:
    return qv.from_pretrained(folder, vector=vector, weights="int2", scale=0.7)


def patched(folder: Path, vector: qv.QuantizationVector, receiver) -> torch.nn.Module:
    return qv.patch_(copy.deepcopy(receiver), vector, 0.7)


WAYS = [by_hand, by_plugin, by_transformers, by_nearest, patched]


@pytest.fixture(scope="module")
def own_vector(base) -> qv.QuantizationVector:
    return qv.QuantizationVector.extract(base, fine_tuned(base, 0.006, 2), base, grid=GRID)


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, torch.Tensor]]:
    return {}


def cases() -> list[object]:
    """All of them, but for what transformers itself refuses."""
    pairs = [(way, setting) for way in WAYS for setting in SETTINGS]
    pairs.remove((by_transformers, "meta by default"))
    return [pytest.param(way, setting, id=f"{way.__name__}-{setting}") for way, setting in pairs]


@pytest.mark.parametrize(("way", "setting"), cases())
def test_no_setting_of_the_callers_changes_a_code(
    way, setting: str, own_vector, receiver, receiver_folder: Path, expected
) -> None:
    if way.__name__ not in expected:
        expected[way.__name__] = way(receiver_folder, own_vector, receiver).state_dict()
    with SETTINGS[setting]():
        before = caller_state()
        found = way(receiver_folder, own_vector, receiver).state_dict()
        assert caller_state() == before
    assert found.keys() == expected[way.__name__].keys()
    for name, tensor in expected[way.__name__].items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


CHANGES: dict[str, Callable[[torch.nn.Module], object]] = {
    "without gradients": lambda model: model.requires_grad_(False),
    "in training": lambda model: model.train(),
    "elsewhere in memory": lambda model: [shift_(parameter) for parameter in model.parameters()],
    "made in inference mode": lambda model: remade(model),
    "transposed in memory": lambda model: [transpose_(p) for p in model.parameters() if p.ndim == 2],
}


@torch.inference_mode()
def remade(model: torch.nn.Module) -> None:
    for module in model.modules():
        for name, parameter in module._parameters.items():
            module._parameters[name] = torch.nn.Parameter(parameter.clone())


def shift_(parameter: torch.nn.Parameter) -> None:
    """The same numbers, 4 bytes beyond where PyTorch would put them."""
    room = torch.empty(parameter.numel() + 1)
    parameter.data = room[1:].view(parameter.shape).copy_(parameter.data)


def transpose_(parameter: torch.nn.Parameter) -> None:
    parameter.data = parameter.data.t().contiguous().t()


@pytest.mark.parametrize("change", CHANGES)
def test_how_a_model_lies_in_memory_changes_no_code(change: str, own_vector, receiver) -> None:
    other = copy.deepcopy(receiver)
    other.config.attention_probs_dropout_prob = 0.0
    CHANGES[change](other)
    modes = [(parameter.requires_grad, parameter.data_ptr()) for parameter in other.parameters()]
    training = other.training
    choices = [qv.choose_scale(each, own_vector, GRID, rounding="fitted", scales=[0.5]) for each in (receiver, other)]
    assert choices[0] == choices[1]
    scaled = [qv.scale_layers(each, own_vector, GRID, groups=2)[1] for each in (receiver, other)]
    assert scaled[0] == scaled[1]
    assert [(parameter.requires_grad, parameter.data_ptr()) for parameter in other.parameters()] == modes
    assert other.training == training
    for rounding in ("nearest", "gptq", "tuned"):
        one, two = (qv.quantize_(copy.deepcopy(each), GRID, rounding=rounding) for each in (receiver, other))
        for name, tensor in one.state_dict().items():
            assert torch.equal(two.state_dict()[name], tensor), (rounding, name)


def test_copies_are_given_up_whatever_happens(receiver, pixels) -> None:
    receiver.vit.layers[1].mlp.fc1.weight = receiver.vit.layers[0].mlp.fc1.weight
    tensors = dict(receiver.named_parameters(remove_duplicate=False))
    logits = receiver(pixels).logits

    def broken() -> None:
        with on_copies(receiver):
            assert receiver.vit.layers[1].mlp.fc1.weight is receiver.vit.layers[0].mlp.fc1.weight
            assert not any(parameter.requires_grad for parameter in receiver.parameters())
            for parameter in receiver.parameters():
                parameter.zero_()
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert all(parameter is tensors[name] for name, parameter in receiver.named_parameters(remove_duplicate=False))
    assert torch.equal(receiver(pixels).logits, logits)
