"""Patching a float model: the formula, all or nothing, and who is refused."""

import copy
import hashlib

import pytest
import torch
from transformers import ViTForImageClassification

import qvec_hub as qv
from qvec_hub.artifact.lineage import MIN_SIMILARITY, probe, similarity, sketch
from qvec_hub.backbone.names import backbone_tensors
from tests.conftest import fine_tuned, tiny_config


def snapshot(model: ViTForImageClassification) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("scale", [1.0, 0.75, -0.3, 0, "recommended"])
def test_the_formula(scale, vector, receiver) -> None:
    before = {name: tensor.clone() for name, tensor in backbone_tensors(receiver).items()}
    head = receiver.classifier.weight.detach().clone()
    qv.patch_(receiver, vector, scale)
    number = 1.0 if scale == "recommended" else scale
    for name, tensor in backbone_tensors(receiver).items():
        assert torch.equal(tensor, before[name] + number * vector[name])
    assert torch.equal(receiver.classifier.weight, head)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_receivers_are_patched_in_float32(dtype, vector, receiver) -> None:
    receiver.to(dtype)
    before = {name: tensor.clone() for name, tensor in backbone_tensors(receiver).items()}
    qv.patch_(receiver, vector, 0.7)
    for name, tensor in backbone_tensors(receiver).items():
        assert tensor.dtype == dtype
        assert torch.equal(tensor, (before[name].float() + 0.7 * vector[name]).to(dtype))


MISFITS = {
    "depth": ({"num_hidden_layers": 3}, "num_hidden_layers 2 ≠ 3", "encoder.layer.2.layernorm_after.bias"),
    "width": ({"hidden_size": 48}, "hidden_size 32 ≠ 48", "encoder.layer.0.attention.attention.query.weight"),
    "resolution": ({"image_size": 24}, "image_size 16 ≠ 24", "embeddings.position_embeddings"),
    "patches": ({"patch_size": 8}, "patch_size 4 ≠ 8", "embeddings.patch_embeddings.projection.weight"),
    "no qkv bias": ({"qkv_bias": False}, "6 tensors differ", "encoder.layer.1.attention.attention.value.bias"),
    "grey images": ({"num_channels": 1}, "num_channels 3 ≠ 1", "embeddings.patch_embeddings.projection.weight"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_every_misfit_is_named_and_nothing_changes(case: str, vector) -> None:
    changes, sizes, tensor = MISFITS[case]
    model = ViTForImageClassification(tiny_config(**changes))
    before = snapshot(model)
    with pytest.raises(qv.MisfitError, match=sizes) as caught:
        qv.patch_(model, vector, check_lineage=False)
    assert tensor in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_qkv_bias_false_works_among_its_own(pixels) -> None:
    base = ViTForImageClassification(tiny_config(qkv_bias=False)).eval()
    vector = qv.QuantizationVector.extract(fine_tuned(base, 0.003, 1), fine_tuned(base, 0.003, 2), base)
    model = qv.quantize_(qv.patch_(fine_tuned(base, 0.003, 3), vector), "int3")
    assert bool(torch.isfinite(model(pixels).logits).all())


def test_another_architecture_is_refused_by_its_name(vector) -> None:
    from transformers import DeiTConfig, DeiTForImageClassification

    config = DeiTConfig(
        **{k: v for k, v in tiny_config().to_dict().items() if k in ("hidden_size", "num_hidden_layers")}
    )
    with torch.device("meta"):
        model = DeiTForImageClassification(config)
    with pytest.raises(qv.MisfitError, match=r"'vit'.*'deit'"):
        qv.patch_(model, vector)


def test_a_stranger_is_refused_with_the_similarity_unless_one_insists(vector) -> None:
    torch.manual_seed(5)
    unrelated = ViTForImageClassification(tiny_config())
    before = snapshot(unrelated)
    with pytest.raises(qv.LineageError, match=r"similarity -?0\.\d{3}"):
        qv.patch_(unrelated, vector)
    assert all(torch.equal(tensor, before[name]) for name, tensor in unrelated.state_dict().items())
    qv.patch_(unrelated, vector, check_lineage=False)
    assert not torch.equal(unrelated.vit.layernorm.bias, before["vit.layernorm.bias"])


def test_a_quantized_receiver_and_a_bad_scale_are_refused(vector, receiver) -> None:
    for scale in (float("nan"), float("inf"), "auto", "big", None, True):
        with pytest.raises(qv.QVecError, match="scale"):
            qv.patch_(receiver, vector, scale)
    qv.quantize_(receiver, "int3")
    with pytest.raises(qv.MisfitError, match="already quantized"):
        qv.patch_(receiver, vector)


def test_the_sketch_tells_descendants_from_strangers(base) -> None:
    ancestor = sketch(backbone_tensors(base))
    for amount, relative in [(0.0, 1.0), (0.02, 0.95), (0.2, 0.3)]:
        child = backbone_tensors(fine_tuned(base, amount, seed=8))
        assert similarity(ancestor, {name: probe(name, child[name]) for name in ancestor}) >= relative
    torch.manual_seed(77)
    other = backbone_tensors(ViTForImageClassification(tiny_config()))
    measured = similarity(ancestor, {name: probe(name, other[name]) for name in ancestor})
    assert abs(measured) < 0.2 < MIN_SIMILARITY


def test_probes_sit_where_they_always_sat() -> None:
    """Published sketches depend on these positions: they may never change."""
    stream = b"".join(hashlib.sha256(f"a.weight:{i}".encode()).digest() for i in range(16))
    positions = [int.from_bytes(stream[i : i + 8], "little") % 1000 for i in range(0, 512, 8)]
    assert probe("a.weight", torch.arange(1000.0)).tolist() == positions
    assert positions[:2] == [947, 428]


def test_a_patched_model_remembers_what_was_added(vector_folder, receiver, tmp_path) -> None:
    loaded = qv.QuantizationVector.from_pretrained(vector_folder)
    model = qv.quantize_(qv.patch_(copy.deepcopy(receiver), loaded, 0.5), "int3")
    record = model.config.quantization_config
    assert record["scale"] == 0.5
    assert record["vector"] == [
        {"repo_id": None, "revision": None, "weight": 1.0, "task": "toys", "sha256": loaded.config.tensors.sha256}
    ]
