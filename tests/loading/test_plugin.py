"""Loading through transformers: equal to doing it by hand, saved and loaded again bit for bit, never random."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageClassification, ViTForImageClassification, ViTImageProcessor, pipeline

import qvec_hub as qv
from tests.conftest import fine_tuned, tiny_config


def same(one, other) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    "weights", ["int2", "int3", "int8", "int3-group10", "int2-channel-mse", "int4-channel-hqq-affine"]
)
@pytest.mark.parametrize("scale", [None, 1.0, 0.7])
def test_the_plugin_equals_patching_and_quantizing_by_hand(
    weights: str, scale: float | None, vector, receiver, receiver_folder: Path, pixels
) -> None:
    grid = qv.Grid.parse(weights)
    matching = qv.QuantizationVector(replace_grid(vector, grid), {n: vector[n] for n in vector}, vector.lineage)
    given = None if scale is None else matching
    config = qv.QVecConfig(vector=given, weights=weights, scale=scale or 1.0)
    loaded = AutoModelForImageClassification.from_pretrained(receiver_folder, quantization_config=config)
    ours = qv.from_pretrained(receiver_folder, vector=given, weights=grid, scale=scale or 1.0)
    by_hand = copy.deepcopy(receiver)
    if given is not None:
        qv.patch_(by_hand, given, scale)
    qv.quantize_(by_hand, grid)
    assert same(loaded, by_hand)
    assert same(ours, by_hand)
    assert torch.equal(loaded(pixels).logits, by_hand(pixels).logits)
    assert loaded.config.quantization_config.to_dict() == by_hand.config.quantization_config


def replace_grid(vector, grid):
    from dataclasses import replace

    return replace(vector.config, grid=grid)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_too(dtype, vector, receiver, receiver_folder: Path, pixels) -> None:
    loaded = qv.from_pretrained(receiver_folder, vector=vector, weights="int3", dtype=dtype, rounding="nearest")
    by_hand = qv.quantize_(qv.patch_(copy.deepcopy(receiver).to(dtype), vector), "int3")
    assert same(loaded, by_hand)
    assert loaded.vit.layernorm.weight.dtype == dtype


@pytest.mark.parametrize("weights", ["int2", "int3", "int4", "int5", "int6", "int7", "int8", "int3-group7-mse-affine"])
def test_saving_reloading_and_saving_again(weights: str, receiver_folder: Path, pixels, tmp_path: Path) -> None:
    model = qv.from_pretrained(receiver_folder, weights=weights, rounding="nearest")
    model.save_pretrained(tmp_path / "one")
    again = AutoModelForImageClassification.from_pretrained(tmp_path / "one")
    again.save_pretrained(tmp_path / "two")
    third = qv.from_pretrained(tmp_path / "two")
    for other in (again, third):
        assert same(model, other)
        assert torch.equal(model(pixels).logits, other(pixels).logits)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert qv.quantize_(qv.from_pretrained(receiver_folder), weights).state_dict().keys() == third.state_dict().keys()


def test_sharded_receivers_and_sharded_results(vector, receiver, pixels, tmp_path: Path) -> None:
    receiver.save_pretrained(tmp_path / "float", max_shard_size="20KB")
    assert len(list((tmp_path / "float").glob("*.safetensors"))) > 2
    model = qv.from_pretrained(tmp_path / "float", vector=vector, weights="int3", rounding="nearest")
    assert same(model, qv.quantize_(qv.patch_(receiver, vector), "int3"))
    model.save_pretrained(tmp_path / "int3", max_shard_size="5KB")
    assert torch.equal(qv.from_pretrained(tmp_path / "int3")(pixels).logits, model(pixels).logits)


def test_config_json_keeps_the_provenance(vector_folder: Path, receiver_folder: Path, tmp_path: Path) -> None:
    qv.from_pretrained(receiver_folder, vector=vector_folder, weights="int3", scale=0.75).save_pretrained(
        tmp_path / "q"
    )
    saved = json.loads((tmp_path / "q" / "config.json").read_text())["quantization_config"]
    assert saved["quant_method"] == "qvec"
    assert saved["grid"] == qv.Grid(3).to_dict()
    assert saved["scale"] == 0.75
    assert saved["vector"][0]["task"] == "toys"
    assert len(saved["vector"][0]["sha256"]) == 64
    assert "path" not in json.dumps(saved)


def test_a_list_of_vectors_is_their_mean(vector, receiver, receiver_folder: Path, vector_folder: Path) -> None:
    model = qv.from_pretrained(
        receiver_folder, vector=[vector, str(vector_folder), 4 * vector], weights="int3", scale=1.0
    )
    assert same(model, qv.quantize_(qv.patch_(receiver, qv.merge([vector, vector, 4 * vector])), "int3"))


def test_one_config_serves_many_loads(vector, receiver_folder: Path) -> None:
    config = qv.QVecConfig(vector=vector, weights="int3", rounding="nearest")
    first, second = (
        AutoModelForImageClassification.from_pretrained(receiver_folder, quantization_config=config) for _ in range(2)
    )
    assert same(first, second)
    assert config.vector is vector


def test_float_with_a_vector_and_plain_float(vector, receiver, receiver_folder: Path) -> None:
    assert same(qv.from_pretrained(receiver_folder), receiver)
    patched = qv.from_pretrained(receiver_folder, vector=vector, scale=2)
    assert same(patched, qv.patch_(receiver, vector, 2))


def test_pipeline(receiver_folder: Path, tmp_path: Path) -> None:
    model = qv.from_pretrained(receiver_folder, weights="int3", rounding="nearest")
    model.save_pretrained(tmp_path / "q")
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path / "q")
    image = Image.effect_noise((20, 20), 90).convert("RGB")
    answer = pipeline("image-classification", model=str(tmp_path / "q"))(image, top_k=1)
    processor = ViTImageProcessor.from_pretrained(tmp_path / "q")
    logits = model(**processor(image, return_tensors="pt")).logits
    assert answer[0]["label"] == model.config.id2label[int(logits.argmax())]
    assert answer[0]["score"] == pytest.approx(float(logits.softmax(-1).max().detach()), abs=1e-6)


def test_a_saved_model_loads_in_a_new_process_after_the_import(receiver_folder: Path, pixels, tmp_path: Path) -> None:
    model = qv.from_pretrained(receiver_folder, weights="int3", rounding="nearest")
    model.save_pretrained(tmp_path / "q")
    torch.save(pixels, tmp_path / "x.pt")
    code = (
        "import sys, torch, qvec_hub\n"
        "from transformers import AutoModelForImageClassification as Auto\n"
        "x = torch.load(sys.argv[2])\n"
        "torch.save(Auto.from_pretrained(sys.argv[1])(x).logits.detach(), sys.argv[3])"
    )
    command = [sys.executable, "-c", code, tmp_path / "q", tmp_path / "x.pt", tmp_path / "y.pt"]
    subprocess.run(command, check=True, capture_output=True)
    assert torch.equal(torch.load(tmp_path / "y.pt"), model(pixels).logits)


def test_strangers_and_misfits_are_refused_while_loading(vector, tmp_path: Path) -> None:
    torch.manual_seed(5)
    ViTForImageClassification(tiny_config()).save_pretrained(tmp_path / "unrelated")
    with pytest.raises(qv.LineageError, match="similarity"):
        qv.from_pretrained(tmp_path / "unrelated", vector=vector, weights="int3", rounding="nearest")
    with pytest.raises(qv.LineageError, match="similarity"):
        AutoModelForImageClassification.from_pretrained(
            tmp_path / "unrelated", quantization_config=qv.QVecConfig(vector=vector, rounding="nearest")
        )
    qv.from_pretrained(tmp_path / "unrelated", vector=vector, weights="int3", check_lineage=False, rounding="nearest")
    ViTForImageClassification(tiny_config(num_hidden_layers=1)).save_pretrained(tmp_path / "short")
    with pytest.raises(qv.MisfitError, match=r"encoder\.layer\.1"):
        qv.from_pretrained(tmp_path / "short", vector=vector, weights="int3", rounding="nearest")


def test_a_vector_of_another_grid_warns(vector, receiver_folder: Path) -> None:
    with pytest.warns(UserWarning, match="int3-channel-absmax and is used on int2-channel-mse"):
        qv.from_pretrained(receiver_folder, vector=vector, weights="int2-channel-mse", rounding="nearest")


def drop(folder: Path, *parts: str) -> None:
    path = folder / "model.safetensors"
    tensors = {name: t for name, t in load_file(path).items() if not any(part in name for part in parts)}
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize("part", ["layer.1.output.dense.weight", "cls_token", "layernorm_after", "classifier"])
@pytest.mark.parametrize("with_vector", [True, False])
def test_a_float_checkpoint_with_holes_is_refused(part: str, with_vector: bool, vector, receiver_folder: Path) -> None:
    drop(receiver_folder, part)
    given = vector if with_vector else None
    with pytest.raises(qv.ArtifactError, match="random"):
        qv.from_pretrained(receiver_folder, vector=given, weights="int3", rounding="nearest")
    with pytest.raises(qv.ArtifactError, match="random"):
        qv.from_pretrained(receiver_folder, vector=given)


@pytest.mark.parametrize("part", ["weight_packed", "layer.0.output.dense.weight_scale", "cls_token"])
def test_a_quantized_checkpoint_with_holes_never_loads_random_weights(
    part: str, receiver_folder: Path, tmp_path
) -> None:
    qv.from_pretrained(receiver_folder, weights="int3", rounding="nearest").save_pretrained(tmp_path / "q")
    drop(tmp_path / "q", part)
    with pytest.raises(qv.ArtifactError, match="random"):
        qv.from_pretrained(tmp_path / "q")


def test_a_quantized_config_that_lost_its_meaning(receiver_folder: Path, vector, tmp_path: Path) -> None:
    qv.from_pretrained(receiver_folder, weights="int3", rounding="nearest").save_pretrained(tmp_path / "q")
    with pytest.raises(qv.QVecError, match="quantized already"):
        qv.from_pretrained(tmp_path / "q", vector=vector, weights="int3", rounding="nearest")
    config = json.loads((tmp_path / "q" / "config.json").read_text())
    for change, reason in [({"grid": {**qv.Grid(4).to_dict()}}, "shape"), ({"quant_method": "other"}, "other")]:
        changed = {**config, "quantization_config": {**config["quantization_config"], **change}}
        (tmp_path / "q" / "config.json").write_text(json.dumps(changed))
        with pytest.raises(qv.QVecError, match=reason):
            qv.from_pretrained(tmp_path / "q")


def test_bad_arguments(receiver_folder: Path, tmp_path: Path) -> None:
    for arguments, reason in [
        ({"weights": "int9"}, "bits"),
        ({"weights": "int3", "vector": tmp_path / "nowhere"}, "no such folder"),
        ({"weights": "int3", "vector": "nobody/nothing"}, "could not be fetched"),
        ({"weights": "int3", "vector": []}, "empty"),
        ({"weights": "int3", "vector": 7}, "vector"),
        ({"weights": "int3", "vector": receiver_folder}, "qvec_config.json"),
    ]:
        with pytest.raises(qv.QVecError, match=reason):
            qv.from_pretrained(receiver_folder, **arguments)
    with pytest.raises(qv.ArtifactError, match="no such folder"):
        qv.from_pretrained(tmp_path / "nowhere", weights="int3", rounding="nearest")
    with pytest.raises(qv.QVecError, match="colour"):
        qv.QVecConfig(colour="blue")


def test_the_float_model_is_never_whole_in_memory(vector, receiver_folder: Path) -> None:
    """After the load nothing but packed weights and small tensors is alive."""
    model = qv.from_pretrained(receiver_folder, vector=vector, weights="int3", rounding="nearest")
    quantizer = model.hf_quantizer
    assert quantizer.load is None
    assert not quantizer.layers
    copy.deepcopy(model)


def test_a_receiver_whose_files_do_not_belong_together(receiver, vector, tmp_path: Path) -> None:
    receiver.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "intermediate_size": 80}))
    with pytest.raises(qv.QVecError, match="80"):
        qv.from_pretrained(tmp_path, vector=vector, weights="int3", rounding="nearest")
    with pytest.raises(qv.QVecError, match="80"):
        qv.from_pretrained(tmp_path, weights="int3", rounding="nearest")
    fine_tuned(receiver, 0.0, 0).save_pretrained(tmp_path)


def test_code_of_a_receiver_is_never_run(receiver_folder, tmp_path) -> None:
    config = json.loads((receiver_folder / "config.json").read_text())
    config |= {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "evil.Config", "AutoModelForImageClassification": "evil.M"},
    }
    (receiver_folder / "config.json").write_text(json.dumps(config))
    (receiver_folder / "evil.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\nclass M: pass\n"
    )
    with pytest.raises(qv.ArtifactError):
        qv.from_pretrained(receiver_folder, weights="int3", rounding="nearest")
    assert not (tmp_path / "ran").exists()


def test_the_config_of_a_record_is_that_of_the_load(vector_folder: Path, receiver_folder: Path) -> None:
    model = qv.from_pretrained(receiver_folder, vector=vector_folder, weights="int3", scale=0.5)
    record = model.config.quantization_config.to_dict()
    again = qv.QVecConfig.from_dict(json.loads(json.dumps(record)))
    assert again.to_dict() == record
    assert (again.base_model, again.watched) == (record["base_model"], None)
    by_name = qv.QVecConfig.from_dict({"quant_method": "qvec", "vector": "org/name", "weights": "int2"})
    assert (by_name.vector, by_name.grid, by_name.grid_is_open) == ("org/name", qv.Grid(2), True)


@pytest.mark.parametrize("key", ["colour", "watched", "base_model", "grid"])
def test_what_only_a_record_says_is_no_argument(key: str) -> None:
    with pytest.raises(qv.QVecError, match=f"QVecConfig: unknown arguments {key}"):
        qv.QVecConfig(**{key: None})


def test_a_record_with_an_unknown_key(receiver_folder: Path, tmp_path: Path) -> None:
    qv.from_pretrained(receiver_folder, weights="int3", rounding="nearest").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"]["colour"] = "blue"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(qv.QVecError, match="QVecConfig: unknown arguments colour"):
        qv.from_pretrained(tmp_path)
