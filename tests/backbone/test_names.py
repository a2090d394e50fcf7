"""Canonical names against the names real checkpoints have, for every naming a checkpoint can arrive in."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    BeitConfig,
    BeitForImageClassification,
    DeiTConfig,
    DeiTForImageClassification,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

import qvec_hub as qv
from qvec_hub.backbone.names import backbone_linears, backbone_tensors, canonical_names
from tests.conftest import tiny_config

# The parts of one encoder layer, as in the checkpoint google/vit-base-patch16-224-in21k.
LAYER = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "layernorm_before": "layernorm_before",
    "layernorm_after": "layernorm_after",
}
REST = [
    "embeddings.cls_token",
    "embeddings.position_embeddings",
    "embeddings.patch_embeddings.projection.weight",
    "embeddings.patch_embeddings.projection.bias",
    "layernorm.weight",
    "layernorm.bias",
]


def hub_names(layers: int) -> set[str]:
    parts = {f"encoder.layer.{i}.{part}.{kind}" for i in range(layers) for part in LAYER for kind in ("weight", "bias")}
    return parts | set(REST)


def renamed(model: ViTForImageClassification, style: str) -> dict[str, torch.Tensor]:
    """A model's tensors under the names of a checkpoint of that style, by this file's own table."""
    tensors = {}
    for name, tensor in backbone_tensors(model).items():
        if style.startswith("v5"):
            name = name.replace("encoder.layer.", "layers.")
            for old, new in LAYER.items():
                name = name.replace(f".{old}.", f".{new}.") if name.startswith("layers.") else name
        tensors[name if style.endswith("bare") else f"vit.{name}"] = tensor.clone()
    return tensors | {f"classifier.{k}": v.clone() for k, v in model.classifier.state_dict().items()}


def test_names_and_sizes_are_those_of_the_hub_checkpoint() -> None:
    with torch.device("meta"):
        model = ViTForImageClassification(ViTConfig())
    tensors = backbone_tensors(model)
    assert set(tensors) == hub_names(12)
    assert len(tensors) == 198
    assert sum(tensor.numel() for tensor in tensors.values()) == 85_798_656
    assert len(list(backbone_linears(model))) == 72


@pytest.mark.parametrize("style", ["v4", "v5", "v4-bare", "v5-bare"])
def test_every_naming_of_a_checkpoint_gives_the_same_vector(
    style, finetuned, qat, base, vector, tmp_path: Path
) -> None:
    folders = {}
    for role, model in {"fp": finetuned, "qat": qat, "base": base}.items():
        folders[role] = tmp_path / role
        model.config.save_pretrained(folders[role])
        save_file(renamed(model, style), folders[role] / "model.safetensors", metadata={"format": "pt"})
    found = qv.QuantizationVector.extract(folders["fp"], folders["qat"], folders["base"])
    assert set(found.names()) == hub_names(2)
    assert all(torch.equal(found[name], vector[name]) for name in vector)
    loaded = qv.from_pretrained(folders["fp"], vector=found, weights="int3", rounding="nearest").state_dict()
    by_hand = qv.quantize_(qv.patch_(copy.deepcopy(finetuned), vector), "int3").state_dict()
    assert loaded.keys() == by_hand.keys()
    assert all(torch.equal(loaded[name], by_hand[name]) for name in by_hand)


def test_names_do_not_depend_on_what_a_model_was_loaded_from(finetuned, tmp_path: Path) -> None:
    fresh = canonical_names(finetuned)
    for style in ("v4", "v5-bare"):
        folder = tmp_path / style
        finetuned.config.save_pretrained(folder)
        save_file(renamed(finetuned, style), folder / "model.safetensors", metadata={"format": "pt"})
        assert canonical_names(ViTForImageClassification.from_pretrained(folder)) == fresh


def test_a_pooler_is_no_part_of_the_backbone(base) -> None:
    bare = ViTModel(tiny_config())
    assert bare.pooler is not None
    assert set(canonical_names(bare).values()) == set(canonical_names(base).values())
    assert {name for name, _ in backbone_linears(bare)} == {n.removeprefix("vit.") for n, _ in backbone_linears(base)}


OTHERS = {
    "deit": (DeiTForImageClassification, DeiTConfig, {}, "encoder.layer.1.attention.attention.query.weight"),
    "deit-teacher": (DeiTForImageClassificationWithTeacher, DeiTConfig, {}, "embeddings.distillation_token"),
    "dinov2": (Dinov2ForImageClassification, Dinov2Config, {"mlp_ratio": 2}, "encoder.layer.0.layer_scale1.lambda1"),
    "beit": (
        BeitForImageClassification,
        BeitConfig,
        {"use_relative_position_bias": True},
        "encoder.layer.0.attention.attention.relative_position_bias.relative_position_bias_table",
    ),
}


def other_model(kind: str):
    if kind == "swin":
        config = SwinConfig(image_size=16, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4)
        return SwinForImageClassification(config).eval(), "encoder.layers.0.blocks.0.attention.self.query.weight"
    model_class, config_class, extra, expected = OTHERS[kind]
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    return model_class(config_class(**sizes, image_size=16, patch_size=4, **extra)).eval(), expected


@pytest.mark.parametrize("kind", [*OTHERS, "swin"])
def test_other_vision_classifiers_go_the_whole_way(kind: str, pixels, tmp_path: Path) -> None:
    torch.manual_seed(0)
    base, expected = other_model(kind)
    models = []
    for seed in range(3):
        torch.manual_seed(seed)
        model = type(base)(base.config).eval()
        model.load_state_dict({k: v + 0.003 * torch.randn_like(v) if v.is_floating_point() else v
                               for k, v in base.state_dict().items()})  # fmt: skip
        model.save_pretrained(tmp_path / str(seed))
        models.append(model)
    vector = qv.QuantizationVector.extract(tmp_path / "0", tmp_path / "1", base, grid="int4")
    assert expected in vector.names()
    assert not any("classifier" in name for name in vector.names())
    loaded = qv.from_pretrained(tmp_path / "2", vector=vector, weights="int4")
    by_hand = qv.quantize_(qv.patch_(models[2], vector), "int4")
    with torch.inference_mode():
        assert torch.equal(loaded(pixels).logits, by_hand(pixels).logits)
    loaded.save_pretrained(tmp_path / "saved")
    again = qv.from_pretrained(tmp_path / "saved")
    with torch.inference_mode():
        assert torch.equal(loaded(pixels).logits, again(pixels).logits)
