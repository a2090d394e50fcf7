"""Every classifier the README names: loaded with a vector, rounded, saved, and loaded again to the bit."""

import copy
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForImageClassification,
    BeitConfig,
    BeitForImageClassification,
    DeiTConfig,
    DeiTForImageClassification,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    Swinv2Config,
    Swinv2ForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

import qvec_hub as qv
from qvec_hub.backbone.names import backbone_linears, canonical_names
from qvec_hub.layers.packed_linear import packed_layers

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 28,
         "image_size": 16, "patch_size": 4, "num_labels": 5}  # fmt: skip
STAGES = {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4,
          "num_labels": 5}  # fmt: skip
MODELS = {
    "vit": (ViTForImageClassification, ViTConfig(**SIZES)),
    "vit-no-bias": (ViTForImageClassification, ViTConfig(**SIZES, qkv_bias=False)),
    "deit": (DeiTForImageClassification, DeiTConfig(**SIZES)),
    "deit-teacher": (DeiTForImageClassificationWithTeacher, DeiTConfig(**SIZES)),
    "beit": (BeitForImageClassification, BeitConfig(**SIZES, use_relative_position_bias=True)),
    "beit-shared": (BeitForImageClassification, BeitConfig(**SIZES, use_shared_relative_position_bias=True,
                                                           use_mean_pooling=False)),
    "dinov2": (Dinov2ForImageClassification, Dinov2Config(**SIZES, mlp_ratio=2)),
    "dinov2-swiglu": (Dinov2ForImageClassification, Dinov2Config(**SIZES, mlp_ratio=2, use_swiglu_ffn=True)),
    "dinov2-registers": (Dinov2WithRegistersForImageClassification,
                         Dinov2WithRegistersConfig(**SIZES, mlp_ratio=2, num_register_tokens=2)),
    "swin": (SwinForImageClassification, SwinConfig(**STAGES)),
    "swinv2": (Swinv2ForImageClassification, Swinv2Config(**STAGES)),
}  # fmt: skip
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@pytest.fixture(scope="module", params=MODELS)
def made(request, tmp_path_factory):
    """A vector and a float receiver of one architecture, in memory and as folders by dtype."""
    kind, config = MODELS[request.param]
    torch.manual_seed(0)
    base = kind(config).eval()
    for parameter in base.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    models = [base]
    for _ in range(3):
        models.append(copy.deepcopy(base))
        for parameter in models[-1].parameters():
            parameter.data += 0.003 * torch.randn(parameter.shape)
    folder = tmp_path_factory.mktemp(request.param)
    for role, model in zip(("base", "fp", "qat", "float32"), models, strict=True):
        model.save_pretrained(folder / role)
    copy.deepcopy(models[-1]).to(torch.bfloat16).save_pretrained(folder / "bfloat16")
    vector = qv.QuantizationVector.extract(folder / "fp", folder / "qat", folder / "base")
    return vector, models[-1], folder


def saved_and_loaded(model, pixels, folder: Path):
    """The model as AutoModelForImageClassification reads it, after its logits were compared."""
    model.save_pretrained(folder)
    again = AutoModelForImageClassification.from_pretrained(folder)
    assert type(again) is type(model)
    assert again.dtype == model.dtype
    assert all(layer.weight_scale.dtype == torch.float32 for layer in packed_layers(again))
    with torch.inference_mode():
        pixels = pixels.to(model.dtype)
        assert torch.equal(again(pixels).logits, model(pixels).logits)
    return again


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weights", ["int2", "int3", "int8"])
def test_widths(weights: str, dtype: str, made, pixels, tmp_path: Path) -> None:
    vector, receiver, folder = made
    vector = vector.with_config(grid=qv.Grid.parse(weights))
    loaded = qv.from_pretrained(folder / dtype, vector=vector, weights=weights, rounding="nearest")
    again = saved_and_loaded(loaded, pixels, tmp_path)
    by_hand = copy.deepcopy(receiver).to(DTYPES[dtype])
    canonical, state = canonical_names(by_hand), by_hand.state_dict()
    for name, tensor in state.items():
        if name in canonical:
            tensor.copy_(tensor.float() + vector[canonical[name]])
    for name, layer in backbone_linears(by_hand):
        layer.weight.data = qv.fake_quantize(layer.weight.data, qv.Grid.parse(weights))
        assert torch.equal(again.get_submodule(name).weight.dequantize(), layer.weight)
    with torch.inference_mode():
        pixels = pixels.to(by_hand.dtype)
        assert torch.equal(again(pixels).logits, by_hand(pixels).logits)


@pytest.mark.parametrize(
    ("rounding", "dtype"),
    [("gptq", "float32"), ("fitted", "float32"), ("tuned", "float32"), ("tuned", "bfloat16")],
)
def test_roundings(rounding: str, dtype: str, made, pixels, quick_rounding, tmp_path: Path) -> None:
    vector, receiver, folder = made
    how = {"rounding": rounding, "images": pixels}
    again = saved_and_loaded(qv.from_pretrained(folder / dtype, vector, "int3-channel-absmax", **how), pixels, tmp_path)
    assert len(packed_layers(again)) == len(list(backbone_linears(receiver)))
    moved = 0
    for name, layer in backbone_linears(receiver):
        found = again.get_submodule(name)
        assert found.grid == qv.Grid(3)
        values = found.weight.dequantize().float() / found.weight_scale
        assert float((values - values.round()).abs().max()) < (1e-5 if dtype == "float32" else 0.05)
        assert -4 <= float(values.round().min()) <= float(values.round().max()) <= 3
        moved += int((found.weight.dequantize().float() != qv.fake_quantize(layer.weight, qv.Grid(3))).sum())
    assert moved  # it did round otherwise than to nearest


def test_a_scale_chosen_for_it(made, pixels, quick_rounding, tmp_path: Path) -> None:
    vector, _, folder = made
    model = qv.from_pretrained(folder / "bfloat16", vector, "int3", scale="auto", images=pixels)
    saved_and_loaded(model, pixels, tmp_path)
