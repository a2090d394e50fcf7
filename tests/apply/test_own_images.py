"""Calibration images that are none: one clear error from every entry point, and nothing is changed."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageClassification

import qvec_hub as qv
from qvec_hub.apply.own_images import checked_images

GOOD = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(8))
WRONG = {
    "an array": (GOOD.numpy(), "numpy.ndarray"),
    "a list of tensors": (list(GOOD), "list"),
    "a path": ("photos/", "str"),
    "bytes 0 to 255": ((GOOD * 50 + 128).to(torch.uint8), "torch.uint8"),
    "integers": (GOOD.long(), "torch.int64"),
    "complex numbers": (GOOD.to(torch.complex64), "torch.complex64"),
    "no image": (GOOD[:0], r"\(0, 3, 16, 16\)"),
    "no pixels": (GOOD[:, :, :, :0], r"\(3, 3, 16, 0\)"),
    "one image alone": (GOOD[0], r"images\[None\]"),
    "a dimension too many": (GOOD[None], r"\(1, 3, 3, 16, 16\)"),
    "one number": (torch.tensor(1.0), r"shape \(\)"),
    "nan": (GOOD.masked_fill(GOOD[1].max() == GOOD, float("nan")), "1 of 3 images"),
    "infinity": (GOOD / 0, "3 of 3 images"),
    "beyond float32": (GOOD.double() * 1e300, "infinity"),
    "the meta device": (GOOD.to("meta"), "meta"),
    "a sparse tensor": (GOOD.to_sparse(), "sparse"),
    "one channel": (GOOD[:, :1], "refuses"),
    "four channels": (torch.cat([GOOD, GOOD[:, :1]], dim=1), "refuses"),
    "channels last": (GOOD.permute(0, 2, 3, 1), "refuses"),
    "another size": (GOOD[:, :, :12, :12], "refuses"),
}


def uses(receiver, folder: Path, vector) -> dict[str, object]:
    def by_transformers(images):
        config = qv.QVecConfig(vector, "int3", 0.5, rounding="gptq", images=images)
        return AutoModelForImageClassification.from_pretrained(folder, quantization_config=config)

    return {
        "quantize_": lambda images: qv.quantize_(receiver, "int3", rounding="fitted", images=images),
        "choose_scale": lambda images: qv.choose_scale(receiver, vector, "int3", images=images),
        "choose_scale, gptq": lambda images: qv.choose_scale(receiver, vector, "int3", rounding="gptq", images=images),
        "rank_donors": lambda images: qv.rank_donors(receiver, [vector], "int3", images=images),
        "scale_layers": lambda images: qv.scale_layers(receiver, vector, "int3", groups=2, images=images),
        "from_pretrained": lambda images: qv.from_pretrained(
            folder, vector=vector, weights="int3", scale="auto", images=images
        ),
        "transformers": by_transformers,
    }


@pytest.mark.parametrize("case", WRONG)
def test_what_are_no_images_is_said_before_anything_changes(case: str, receiver, receiver_folder, vector) -> None:
    images, words = WRONG[case]
    before = copy.deepcopy(receiver.state_dict())
    for use in uses(receiver, receiver_folder, vector).values():
        with pytest.raises(qv.QVecError, match=words):
            use(images)
    assert type(receiver.vit.layers[0].mlp.fc1) is torch.nn.Linear
    assert all(torch.equal(tensor, before[name]) for name, tensor in receiver.state_dict().items())


@pytest.mark.parametrize("nearest", [{"rounding": "nearest"}, {}])
def test_images_are_looked_at_also_where_none_are_needed(nearest: dict, receiver, receiver_folder, vector) -> None:
    for weights in ("int3", None):
        with pytest.raises(qv.QVecError, match="images"):
            qv.from_pretrained(receiver_folder, vector=vector, weights=weights, images=GOOD.numpy(), **nearest)
    with pytest.raises(qv.QVecError, match="images"):
        qv.quantize_(receiver, "int3", images=GOOD[0], **nearest)


def test_good_images_in_any_memory_and_precision_give_the_same_codes(receiver) -> None:
    expected = qv.quantize_(copy.deepcopy(receiver), "int2", rounding="fitted", images=GOOD).state_dict()
    room = torch.empty(GOOD.numel() + 1)
    for images in (
        GOOD.double(),
        GOOD.to(memory_format=torch.channels_last),
        GOOD.clone().requires_grad_(),
        room[1:].view(GOOD.shape).copy_(GOOD),
        torch.from_numpy(np.ascontiguousarray(GOOD.numpy()[::-1])).flip(0),
    ):
        found = qv.quantize_(copy.deepcopy(receiver), "int2", rounding="fitted", images=images).state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    assert torch.equal(checked_images(GOOD.half()), GOOD.half().float())
