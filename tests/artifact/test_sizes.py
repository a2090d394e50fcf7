"""A config's sizes against its tensors: what transformers builds is right, any lie about it is refused everywhere."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import (
    BeitConfig,
    BeitForImageClassification,
    ConvNextConfig,
    ConvNextForImageClassification,
    DeiTConfig,
    DeiTForImageClassification,
    Dinov2Config,
    Dinov2ForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    ViTForImageClassification,
)

import qvec_hub as qv
from qvec_hub.artifact.config import CONFIG_FILE
from qvec_hub.artifact.sizes import RULES, contradictions
from qvec_hub.backbone.names import architecture, backbone_tensors
from tests.conftest import tiny_config

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16, "patch_size": 4}
SWIN = {"image_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 8, "num_heads": [1, 2]}
RIGHT = {
    "vit": lambda: ViTForImageClassification(tiny_config()),
    "rectangular vit": lambda: ViTForImageClassification(tiny_config(image_size=(16, 24), patch_size=(4, 8))),
    "grey vit that cuts pixels off": lambda: ViTForImageClassification(tiny_config(num_channels=1, image_size=18)),
    "vit with a mask token": lambda: ViTForImageClassification(tiny_config(qkv_bias=False)),
    "deit": lambda: DeiTForImageClassification(DeiTConfig(intermediate_size=40, **SMALL)),
    "beit": lambda: BeitForImageClassification(BeitConfig(intermediate_size=40, **SMALL)),
    "beit with positions": lambda: BeitForImageClassification(
        BeitConfig(use_absolute_position_embeddings=True, use_relative_position_bias=True, **SMALL)
    ),
    "dinov2": lambda: Dinov2ForImageClassification(Dinov2Config(mlp_ratio=3, **SMALL)),
    "dinov2 with swiglu": lambda: Dinov2ForImageClassification(Dinov2Config(use_swiglu_ffn=True, **SMALL)),
    "swin": lambda: SwinForImageClassification(SwinConfig(depths=[1, 2], **SWIN)),
    "swin with a window larger than the image": lambda: SwinForImageClassification(
        SwinConfig(depths=[1, 1], **{**SWIN, "window_size": 24})
    ),
    "convnext": lambda: ConvNextForImageClassification(
        ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", RIGHT)
def test_what_transformers_builds_agrees_with_itself(kind: str) -> None:
    model = RIGHT[kind]()
    shapes = {name: tuple(tensor.shape) for name, tensor in backbone_tensors(model).items()}
    assert contradictions(model.config.model_type, architecture(model.config), shapes) == []


@pytest.mark.parametrize("kind", [kind for kind in RIGHT if kind != "convnext"])
def test_every_size_that_decides_shapes_is_compared(kind: str) -> None:
    """One size at a time of another model; those that no tensor of this one depends on apart."""
    model = RIGHT[kind]()
    sizes, model_type = architecture(model.config), model.config.model_type
    shapes = {name: tuple(tensor.shape) for name, tensor in backbone_tensors(model).items()}
    deciding = {key for rule in RULES[model_type] for key in rule.needs if any(map(rule.name.fullmatch, shapes))}
    assert len(deciding) >= 3
    for key in (*deciding, "depths" if "depths" in sizes else "num_hidden_layers"):
        value = sizes[key]
        for wrong in (
            [*value[:-1], value[-1] + 8] if isinstance(value, list) else value + 8,
            0,
            -1,
            [1, 2, 3],
            None,
            "x",
        ):
            assert contradictions(model_type, {**sizes, key: wrong}, shapes), (key, wrong)


LIES = {
    "hidden_size": 128,
    "num_hidden_layers": 12,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
    "num_channels": 1,
}


@pytest.mark.parametrize("key", [*LIES, "model_type"])
def test_a_vector_that_contradicts_itself_is_refused_everywhere(
    key: str, vector, receiver, receiver_folder: Path, vector_folder: Path, tmp_path: Path
) -> None:
    path = vector_folder / CONFIG_FILE
    values = json.loads(path.read_text())
    (values if key == "model_type" else values["architecture"])[key] = "deit" if key == "model_type" else LIES[key]
    path.write_text(json.dumps(values))
    changes = {"model_type": "deit"} if key == "model_type" else {
        "architecture": {**vector.config.architecture, key: LIES[key]}
    }  # fmt: skip
    lying, before = vector.with_config(**changes), copy.deepcopy(receiver.state_dict())
    for use in (
        lambda: qv.QuantizationVector.from_pretrained(vector_folder),
        lambda: lying.save_pretrained(tmp_path / "saved"),
        lambda: lying.push_to_hub("me/vector"),
        lambda: qv.patch_(receiver, lying),
        lambda: qv.choose_scale(receiver, lying, "int3"),
        lambda: qv.from_pretrained(receiver_folder, vector=lying, weights="int3", rounding="nearest"),
        lambda: qv.from_pretrained(receiver_folder, vector=lying),
        lambda: qv.merge([vector, lying]),
        lambda: vector + lying,
        lambda: lying.cosine(vector),
    ):
        with pytest.raises(qv.QVecError, match="deit" if key == "model_type" else key):
            use()
    assert not (tmp_path / "saved").exists()
    assert all(torch.equal(tensor, before[name]) for name, tensor in receiver.state_dict().items())


def test_what_shapes_do_not_tell(vector, receiver, pixels) -> None:
    """Heads of another number compute something else with the same tensors; other sizes may differ where none shows."""
    other = vector.with_config(architecture={**vector.config.architecture, "num_attention_heads": 4})
    with pytest.raises(qv.MisfitError, match="num_attention_heads 4 ≠ 2"):
        qv.patch_(receiver, other)
    with pytest.raises(qv.MisfitError, match="num_attention_heads 2 ≠ 4"):
        qv.merge([vector, other])
    swins = [SwinForImageClassification(SwinConfig(depths=[1, 1], **{**SWIN, "image_size": n})) for n in (32, 64)]
    trained = copy.deepcopy(swins[0])
    for parameter in trained.parameters():
        parameter.data += 0.01
    made = qv.QuantizationVector.extract(swins[0], trained)
    qv.patch_(swins[1], made)  # made at 32 pixels, for a receiver of 64
    unknown = replace(vector.config, architecture={})
    qv.patch_(receiver, qv.QuantizationVector(unknown, {name: vector[name] for name in vector}))
