"""Small vectors: what the file holds, what comes back, and what a second implementation makes of it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import qvec_hub as qv
from qvec_hub.artifact.config import CONFIG_FILE, TENSOR_FILE
from qvec_hub.artifact.encoding import ENCODINGS

NAME = "encoder.layer.1.output.dense.weight"
SMALL = "encoder.layer.1.output.dense.bias"


def saved(vector: qv.QuantizationVector, folder: Path, encoding: str) -> qv.QuantizationVector:
    vector.save_pretrained(folder, encoding=encoding)
    return qv.QuantizationVector.from_pretrained(folder)


def decoded(entries: dict[str, torch.Tensor], name: str, width: int) -> torch.Tensor:
    """By the words of the format alone, one code at a time: little end first, eight codes and more a word."""
    data = entries[f"{name}.int{width}"].tolist()
    shape = entries[f"{name}.shape"].tolist()
    per_byte = 8 // width
    codes = [byte >> (width * place) & (2**width - 1) for byte in data for place in range(per_byte)]
    numbers = torch.tensor(codes[: torch.Size(shape).numel()], dtype=torch.float32) - 2 ** (width - 1)
    return numbers.view(shape) * entries[f"{name}.scale"].view(-1, *[1] * (len(shape) - 1))


@pytest.mark.parametrize("encoding", ENCODINGS.names())
def test_what_comes_back(vector, tmp_path: Path, encoding: str) -> None:
    loaded = saved(vector, tmp_path / "v", encoding)
    entries = load_file(tmp_path / "v" / TENSOR_FILE)
    assert loaded.config.encoding.name == encoding
    assert loaded.shapes() == vector.shapes()
    assert torch.equal(loaded[SMALL], vector[SMALL]), "what is small stays float"
    if encoding == "float32":
        assert torch.equal(loaded[NAME], vector[NAME])
        assert "relative_error" not in (tmp_path / "v" / CONFIG_FILE).read_text()
        return
    expected = (
        vector[NAME].bfloat16().float() if encoding == "bf16" else decoded(entries, NAME, ENCODINGS.get(encoding).bits)
    )
    assert torch.equal(loaded[NAME], expected)
    flat = [torch.cat([v[name].flatten() for name in vector]) for v in (vector, loaded)]
    lost = float((flat[0] - flat[1]).norm() / flat[0].norm())
    assert loaded.config.encoding.relative_error == pytest.approx(lost, rel=1e-4)
    limit = {"bf16": 0.003, "int8": 0.02, "int4": 0.15, "int2": 0.45}[
        encoding
    ]  # Gaussian rows: 0.002, 0.01, 0.11, 0.38
    assert 0 < lost < limit


def test_a_merged_vector_and_a_patch_use_the_decoded_tensors(vector, receiver_folder, pixels, tmp_path: Path) -> None:
    small = saved(vector, tmp_path / "small", "int2")
    whole = saved(small, tmp_path / "whole", "float32")
    assert torch.equal(whole[NAME], small[NAME])
    models = [qv.from_pretrained(receiver_folder, vector=v, weights="int3", rounding="nearest") for v in (small, whole)]
    with torch.inference_mode():
        assert torch.equal(models[0](pixels).logits, models[1](pixels).logits)
    assert qv.merge([small, whole]).config.encoding.name == "float32"


def test_saved_again_it_stays_as_it_is(vector, tmp_path: Path) -> None:
    saved(vector, tmp_path / "one", "int2").save_pretrained(tmp_path / "two")
    files = [(tmp_path / folder / TENSOR_FILE).read_bytes() for folder in ("one", "two")]
    assert files[0] == files[1]
    configs = [qv.QuantizationVector.from_pretrained(tmp_path / folder).config for folder in ("one", "two")]
    assert configs[0] == configs[1]


def test_shards_may_part_codes_from_their_scales(vector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = saved(vector, tmp_path / "whole", "int4")
    monkeypatch.setattr("qvec_hub.artifact.config.MAX_SHARD_BYTES", 3000)
    parted = saved(vector, tmp_path / "parted", "int4")
    assert len(list((tmp_path / "parted").glob("qvec-*.safetensors"))) > 3
    assert all(torch.equal(whole[name], parted[name]) for name in vector)


def test_an_unknown_encoding_is_refused(vector, tmp_path: Path) -> None:
    with pytest.raises(qv.ArtifactError, match=r"expected one of float32, bf16, int8, int4, int2, found 'int3'"):
        vector.save_pretrained(tmp_path / "v", encoding="int3")
    assert not (tmp_path / "v").exists()


CODES = f"{NAME}.int2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entries: entries.pop(f"{NAME}.scale"), "expected codes, .scale and .shape"),
        (lambda entries: entries.update({NAME: torch.zeros(4)}), "expected codes, .scale and .shape"),
        (lambda entries: entries.update({f"{NAME}.int4": entries[CODES].clone()}), "expected codes, .scale and .shape"),
        (lambda entries: entries.update({CODES: entries[CODES][:-1].clone()}), "does not go with"),
        (lambda entries: entries.update({f"{NAME}.scale": torch.ones(3)}), "does not go with"),
        (lambda entries: entries.update({f"{NAME}.shape": torch.tensor([-32, -56])}), "does not go with"),
        (lambda entries: entries.update({f"{NAME}.shape": torch.tensor([0, 56])}), "does not go with"),
        (lambda entries: entries.update({f"{NAME}.shape": torch.tensor([2**40, 2**40])}), "does not go with"),
        (lambda entries: entries.update({f"{NAME}.shape": torch.ones(9, dtype=torch.int64)}), "up to 8 numbers"),
        (lambda entries: entries.update({f"{NAME}.shape": torch.ones(2)}), "is F32, expected I64"),
        (lambda entries: entries.update({CODES: entries[CODES].to(torch.int8)}), "is I8, expected U8"),
        (lambda entries: entries[f"{NAME}.scale"].mul_(2), "not the ones"),
        (lambda entries: entries[f"{NAME}.scale"].fill_(float("nan")), "NaN or infinity"),
    ],
)
def test_damaged_codes_are_refused(vector, tmp_path: Path, change, message: str) -> None:
    vector.save_pretrained(tmp_path / "v", encoding="int2")
    entries = load_file(tmp_path / "v" / TENSOR_FILE)
    change(entries)
    save_file(entries, tmp_path / "v" / TENSOR_FILE)
    with pytest.raises(qv.ArtifactError, match=message):
        qv.QuantizationVector.from_pretrained(tmp_path / "v")


def test_a_config_that_promises_another_encoding_is_refused(vector, tmp_path: Path) -> None:
    vector.save_pretrained(tmp_path / "v", encoding="int2")
    path = tmp_path / "v" / CONFIG_FILE
    path.write_text(path.read_text().replace('"int2"', '"int4"', 1))
    with pytest.raises(qv.ArtifactError, match="promises tensors in int4, the files hold some in int2"):
        qv.QuantizationVector.from_pretrained(tmp_path / "v")


def test_a_vit_b_vector_in_2_bits_takes_a_fourteenth() -> None:
    """By the plan of its tensors: no such vector needs to be made."""
    from transformers import ViTConfig, ViTForImageClassification

    from qvec_hub.artifact.encoding import planned
    from qvec_hub.backbone.names import backbone_tensors

    with torch.device("meta"):
        shapes = {name: t.shape for name, t in backbone_tensors(ViTForImageClassification(ViTConfig())).items()}
    sizes = {
        encoding: sum(t.nbytes for name, shape in shapes.items() for t in planned(name, shape, encoding).values())
        for encoding in ("float32", "int2")
    }
    assert sizes["float32"] == 4 * sum(shape.numel() for shape in shapes.values())
    assert sizes["float32"] / sizes["int2"] >= 14
