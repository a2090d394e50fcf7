"""``qvec merge`` and the encodings of ``qvec extract``, ``info`` and ``apply``."""

import json
from pathlib import Path

import pytest
import torch

import qvec_hub as qv

NAME = "encoder.layer.1.output.dense.weight"


@pytest.fixture
def two(vector, tmp_path: Path) -> None:
    vector.save_pretrained(tmp_path / "one")
    (3 * vector).save_pretrained(tmp_path / "two")


def test_merge_info_apply(qvec, vector, two, receiver, receiver_folder: Path, tmp_path: Path, pixels) -> None:
    options = ("--weight", "1", "--weight", "3", "--scale", "0.5", "--encoding", "int4")
    done = qvec("merge", "one", "two", *options, "--out", "both", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert (made["encoding"], made["recommended_scale"]) == ("int4", 0.5)
    assert [source["weight"] for source in made["sources"]] == [0.25, 2.25]  # of the vector that "two" is thrice
    merged = qv.QuantizationVector.from_pretrained(tmp_path / "both")
    assert torch.allclose(merged[NAME], 2.5 * vector[NAME], atol=float(vector[NAME].abs().max()))
    assert made["encoding_error"] == pytest.approx(merged.config.encoding.relative_error)
    assert "int4" in qvec("info", "both").stdout
    assert "int4, instead of" in (tmp_path / "both" / "README.md").read_text()
    how = ("--vector", "both", "--weights", "int3", "--scale", "recommended", "--out", "out")
    done = qvec("apply", receiver_folder, *how)
    assert done.returncode == 0, done.stderr
    expected = qv.quantize_(qv.patch_(receiver, merged), "int3")
    assert torch.equal(qv.from_pretrained(tmp_path / "out")(pixels).logits, expected(pixels).logits)


def test_what_cannot_be_merged_is_one_line(qvec, two, tmp_path: Path) -> None:
    for options in (["--method", "average"], ["--weight", "1"], ["--density", "2"], ["--encoding", "int3"]):
        done = qvec("merge", "one", "two", *options, "--out", "both")
        assert done.returncode == 1
        assert len(done.stderr.strip().splitlines()[-1]) > 20
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "both").exists()
