"""Vectors: the formula, files, arithmetic, and everything that can be wrong with an artifact."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import qvec_hub as qv
from qvec_hub.artifact import config as artifact
from qvec_hub.artifact.config import CARD_FILE, CONFIG_FILE, INDEX_FILE, LINEAGE_FILE, TENSOR_FILE
from qvec_hub.backbone.names import backbone_tensors
from tests.conftest import fine_tuned, tiny_config

NAME = "encoder.layer.1.output.dense.weight"


def test_a_vector_is_qat_minus_finetuned_without_the_head(vector, finetuned, qat) -> None:
    assert len(vector.names()) == len(list(qat.vit.parameters()))
    finetuned, qat = finetuned.requires_grad_(False), qat.requires_grad_(False)
    for run_time, canonical in [("layers.1.mlp.fc2.weight", NAME), ("layernorm.bias", "layernorm.bias")]:
        assert torch.equal(vector[canonical], qat.vit.get_parameter(run_time) - finetuned.vit.get_parameter(run_time))
    flat = torch.cat([(q - f).flatten().double() for q, f in zip(qat.vit.parameters(), finetuned.vit.parameters())])  # noqa: B905
    assert vector.norm() == pytest.approx(float(flat.norm()), rel=1e-6)


def test_half_precision_models_are_subtracted_in_float32(base, finetuned, qat) -> None:
    found = qv.QuantizationVector.extract(finetuned_as(finetuned, torch.bfloat16), finetuned_as(qat, torch.bfloat16))
    fp, q = (m.vit.layers[1].mlp.fc2.weight.bfloat16().float() for m in (finetuned, qat))
    assert found[NAME].dtype == torch.float32
    assert torch.equal(found[NAME], q - fp)


def finetuned_as(model, dtype: torch.dtype):
    return fine_tuned(model, 0.0, seed=0).to(dtype)


def test_save_and_load_keep_every_bit(vector, vector_folder: Path) -> None:
    loaded = qv.QuantizationVector.from_pretrained(vector_folder)
    assert set(loaded.names()) == set(vector.names())
    assert all(torch.equal(loaded[name], vector[name]) for name in vector)
    assert loaded.shapes() == vector.shapes()
    assert loaded.config.tensors.norm == pytest.approx(vector.norm(), rel=1e-6)
    files = {path.name for path in vector_folder.iterdir()}
    assert files == {CONFIG_FILE, TENSOR_FILE, LINEAGE_FILE, CARD_FILE}
    assert (vector_folder / LINEAGE_FILE).stat().st_size < 20_000


def test_the_hash_is_over_the_tensors_in_order_of_their_names(vector, vector_folder: Path) -> None:
    import hashlib

    tensors = load_file(vector_folder / TENSOR_FILE)
    expected = hashlib.sha256(b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))).hexdigest()
    assert json.loads((vector_folder / CONFIG_FILE).read_text())["tensors"]["sha256"] == expected


def test_without_a_base_there_is_no_sketch(finetuned, qat, tmp_path: Path) -> None:
    qv.QuantizationVector.extract(finetuned, qat).save_pretrained(tmp_path / "v")
    assert not (tmp_path / "v" / LINEAGE_FILE).exists()
    assert qv.QuantizationVector.from_pretrained(tmp_path / "v").lineage is None


def test_shards_and_their_index(vector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "MAX_SHARD_BYTES", 20_000)
    vector.save_pretrained(tmp_path / "v")
    shards = sorted(path.name for path in (tmp_path / "v").glob("qvec-*.safetensors"))
    assert len(shards) > 1
    assert shards[0] == f"qvec-00001-of-{len(shards):05d}.safetensors"
    assert not (tmp_path / "v" / TENSOR_FILE).exists()
    loaded = qv.QuantizationVector.from_pretrained(tmp_path / "v")
    assert all(torch.equal(loaded[name], vector[name]) for name in vector)
    monkeypatch.undo()
    vector.save_pretrained(tmp_path / "v")  # the shards of the old vector do not survive
    assert not list((tmp_path / "v").glob("qvec-*"))
    qv.QuantizationVector.from_pretrained(tmp_path / "v")


def test_arithmetic(vector, base, finetuned) -> None:
    other = qv.QuantizationVector.extract(finetuned, fine_tuned(base, 0.005, seed=7), base, grid="int3")
    assert torch.equal((vector + other)[NAME], vector[NAME] + other[NAME])
    assert torch.equal((0.5 * vector)[NAME], (vector * 0.5)[NAME])
    assert torch.equal((-vector)[NAME], -vector[NAME])
    assert (vector - vector).norm() == 0
    assert vector.cosine(vector) == pytest.approx(1)
    assert vector.cosine(-2 * vector) == pytest.approx(-1)
    flat = [torch.cat([v[n].flatten().double() for n in vector]) for v in (vector, other)]
    assert vector.cosine(other) == pytest.approx(float(flat[0] @ flat[1] / flat[0].norm() / flat[1].norm()))
    mean = qv.merge([vector, other])
    assert torch.allclose(mean[NAME], (vector[NAME] + other[NAME]) / 2)
    assert [source.weight for source in mean.config.sources] == [0.5, 0.5]


def test_a_merged_vector_is_an_artifact_like_any_other(vector, tmp_path: Path) -> None:
    mean = qv.merge([vector, 3 * vector])
    mean.save_pretrained(tmp_path / "mean")
    loaded = qv.QuantizationVector.from_pretrained(tmp_path / "mean")
    assert torch.equal(loaded[NAME], mean[NAME])
    assert [source.weight for source in loaded.config.sources] == [0.5, 1.5]


def test_vectors_that_do_not_add_up(vector, base, finetuned) -> None:
    from transformers import ViTForImageClassification

    small = tiny_config(num_hidden_layers=1)
    pair = [ViTForImageClassification(small) for _ in range(2)]
    with pytest.raises(qv.MisfitError, match=r"encoder\.layer\.1"):
        vector + qv.QuantizationVector.extract(*pair)
    with pytest.raises(qv.QVecError, match="of one grid, found int3-channel-absmax"):
        qv.merge([vector, qv.QuantizationVector.extract(finetuned, base, grid="int2")])
    with pytest.raises(qv.QVecError, match="empty"):
        qv.merge([])
    with pytest.raises(qv.QVecError, match="finite"):
        vector * float("nan")
    with pytest.raises(qv.MisfitError, match="classifier"):
        vector["classifier.weight"]


def test_pairs_that_make_no_vector(finetuned, qat) -> None:
    from transformers import ViTForImageClassification

    with pytest.raises(qv.ArtifactError, match="identical"):
        qv.QuantizationVector.extract(finetuned, finetuned)
    with pytest.raises(qv.MisfitError, match="position_embeddings"):
        qv.QuantizationVector.extract(finetuned, ViTForImageClassification(tiny_config(image_size=24)))
    broken = fine_tuned(qat, 0.0, seed=0)
    broken.vit.layernorm.bias.data[3] = float("nan")
    with pytest.raises(qv.ArtifactError, match=r"layernorm\.bias.*NaN"):
        qv.QuantizationVector.extract(finetuned, broken)


def rewrite(folder: Path, change) -> None:
    """Change the tensors and make the config's summary agree, as a careless publisher would."""
    tensors = load_file(folder / TENSOR_FILE)
    change(tensors)
    save_file(tensors, folder / TENSOR_FILE)
    config = json.loads((folder / CONFIG_FILE).read_text())
    config["tensors"] |= {"count": len(tensors), "parameters": sum(t.numel() for t in tensors.values())}
    (folder / CONFIG_FILE).write_text(json.dumps(config))


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


BROKEN = {
    "no folder": (lambda f: f.rename(f.with_name("gone")), "no such folder"),
    "no config": (lambda f: (f / CONFIG_FILE).unlink(), CONFIG_FILE),
    "no tensors": (lambda f: (f / TENSOR_FILE).unlink(), "is missing"),
    "truncated": (lambda f: os.truncate(f / TENSOR_FILE, 5000), "truncated"),
    "empty": (lambda f: (f / TENSOR_FILE).write_bytes(b""), "truncated"),
    "foreign": (lambda f: (f / TENSOR_FILE).write_bytes(b"PK\x03\x04" * 999), "not a safetensors file"),
    "one bit flipped": (lambda f: flip(f / TENSOR_FILE, -1000), "sha256"),
    "a tensor less": (lambda f: rewrite(f, lambda t: t.pop(NAME)), "sha256"),
    "another dtype": (lambda f: rewrite(f, lambda t: t.update({NAME: t[NAME].half()})), "F16, expected F32"),
    "infinity": (lambda f: rewrite(f, lambda t: t[NAME].fill_(float("inf"))), "NaN or infinity"),
    "a head": (lambda f: rewrite(f, lambda t: t.update({"classifier.weight": torch.zeros(2, 2)})), "belongs to a head"),
    "index of unknown files": (
        lambda f: (f / INDEX_FILE).write_text('{"weight_map": {"a": "../../etc/passwd"}}'), "shards named"),
    "index of nothing": (lambda f: (f / INDEX_FILE).write_text("{}"), "not an index"),
    "broken sketch": (lambda f: (f / LINEAGE_FILE).write_bytes(b"x"), LINEAGE_FILE),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_artifacts_are_refused_with_a_reason(
    case: str, vector_folder: Path, receiver_folder: Path, tmp_path
) -> None:
    qv.QuantizationVector.from_pretrained(vector_folder)  # remembered as good; must not be believed afterwards
    damage, reason = BROKEN[case]
    damage(vector_folder)
    with pytest.raises(qv.ArtifactError, match=reason):
        qv.QuantizationVector.from_pretrained(vector_folder)
    with pytest.raises(qv.ArtifactError, match=reason):
        qv.from_pretrained(receiver_folder, vector=vector_folder, weights="int3", rounding="nearest")


def test_a_config_of_another_vector_is_noticed(vector, vector_folder: Path, tmp_path: Path) -> None:
    (2 * vector).save_pretrained(tmp_path / "twice")
    (tmp_path / "twice" / CONFIG_FILE).replace(vector_folder / CONFIG_FILE)
    with pytest.raises(qv.ArtifactError, match="sha256"):
        qv.QuantizationVector.from_pretrained(vector_folder)


def test_saving_keeps_what_others_wrote(vector, vector_folder: Path) -> None:
    (vector_folder / "README.md").write_text("by hand")
    (vector_folder / "notes").mkdir()
    (vector_folder / "notes" / "a.txt").write_text("kept")
    (2 * vector).save_pretrained(vector_folder)
    assert "\n\nby hand\n\n## How to use it" in (vector_folder / "README.md").read_text()
    assert (vector_folder / "notes" / "a.txt").read_text() == "kept"
    assert qv.QuantizationVector.from_pretrained(vector_folder).norm() == pytest.approx(2 * vector.norm(), rel=1e-5)
    assert [path.name for path in vector_folder.parent.iterdir() if path.name.startswith(".")] == []


def test_a_failed_save_changes_nothing(vector, vector_folder: Path) -> None:
    broken = qv.QuantizationVector(
        vector.config, {**{n: vector[n] for n in vector}, NAME: torch.full((32, 56), torch.nan)}
    )
    before = {path.name: path.read_bytes() for path in vector_folder.iterdir()}
    with pytest.raises(qv.ArtifactError, match="NaN"):
        broken.save_pretrained(vector_folder)
    assert {path.name: path.read_bytes() for path in vector_folder.iterdir()} == before
    with pytest.raises(qv.ArtifactError, match="is a file"):
        vector.save_pretrained(vector_folder / CONFIG_FILE)


def test_an_open_vector_outlives_its_folder(vector, vector_folder: Path) -> None:
    loaded = qv.QuantizationVector.from_pretrained(vector_folder)
    (2 * vector).save_pretrained(vector_folder)
    assert torch.equal(loaded[NAME], vector[NAME])


def test_backbones_without_a_head_are_fine(base, finetuned, qat, tmp_path: Path) -> None:
    finetuned.vit.save_pretrained(tmp_path / "fp")
    qat.vit.save_pretrained(tmp_path / "qat")
    found = qv.QuantizationVector.extract(tmp_path / "fp", tmp_path / "qat", base)
    tensors = backbone_tensors(qat)
    assert torch.equal(found[NAME], tensors[NAME] - backbone_tensors(finetuned)[NAME])


@pytest.mark.parametrize("damage", ["none", "config", "weights", "cut", "half"])
def test_checkpoints_that_cannot_be_read(damage: str, finetuned, qat, tmp_path: Path) -> None:
    folder = tmp_path / "fp"
    if damage != "none":
        finetuned.save_pretrained(folder)
    if damage == "config":
        (folder / "config.json").unlink()
    elif damage == "weights":
        (folder / "model.safetensors").unlink()
    elif damage == "cut":
        os.truncate(folder / "model.safetensors", 3000)
    elif damage == "half":
        tensors = {k: v for k, v in load_file(folder / "model.safetensors").items() if "layer.1" not in k}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(qv.ArtifactError, match=str(folder)):
        qv.QuantizationVector.extract(folder, qat)


@pytest.mark.parametrize("source", ["x" * 5000, "a\0b", "~nobody-of-that-name/vector", ""])
def test_a_source_that_is_no_path_is_named(source: str) -> None:
    with pytest.raises(qv.QVecError, match=r"no such folder|repo id|cache|no qvec_config\.json"):
        qv.QuantizationVector.from_pretrained(source, local_files_only=True)
