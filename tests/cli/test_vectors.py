"""``qvec extract``, ``info`` and ``apply`` end to end, and how they fail."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import ViTImageProcessor

import qvec_hub as qv
from qvec_hub.proxies.draw import proxy_images


def test_extract_info_apply(
    qvec, base, finetuned, qat, receiver, receiver_folder: Path, tmp_path: Path, pixels
) -> None:
    for name, model in {"base": base, "fp": finetuned, "qat": qat}.items():
        model.save_pretrained(tmp_path / name)
    (receiver_folder / "preprocessor_config.json").write_text('{"image_processor_type": "ViTImageProcessor"}')

    done = qvec("extract", "fp", "qat", "--base", "base", "--task", "toys", "--out", "vec", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["task"] == "toys"
    assert made["lineage_sketch"] is True

    done = qvec("info", "vec", "--receiver", receiver_folder, "--json")
    shown = json.loads(done.stdout)
    assert shown["receiver"]["fits"] is True
    assert shown["receiver"]["similarity"] > 0.9
    assert len(shown["table"]) == made["tensors"] == 38
    text = qvec("info", "vec").stdout
    assert "int3-channel-absmax" in text
    assert "encoder.layer.1.output.dense.weight" in text

    done = qvec(
        "apply", receiver_folder, "--vector", "vec", "--weights", "int3", "--scale", "0.5", "--out", "out", "--json"
    )
    assert done.returncode == 0, done.stderr
    applied = json.loads(done.stdout)
    assert applied["bits_per_weight"] == 3.0
    assert applied["scale"] == 0.5
    assert (tmp_path / "out" / "preprocessor_config.json").exists()
    vector = qv.QuantizationVector.extract(finetuned, qat)
    expected = qv.quantize_(qv.patch_(receiver, vector, 0.5), "int3")
    assert torch.equal(qv.from_pretrained(tmp_path / "out")(pixels).logits, expected(pixels).logits)


@pytest.mark.usefixtures("quick_rounding")
def test_apply_with_images_flowing_through(
    qvec, receiver, receiver_folder: Path, vector_folder: Path, vector, tmp_path: Path, pixels
) -> None:
    how = ("apply", receiver_folder, "--vector", vector_folder, "--weights", "int3", "--out", "out")
    done = qvec(*how, "--scale", "auto", "--rounding", "fitted", "--json")
    assert done.returncode == 0, done.stderr
    applied = json.loads(done.stdout)
    assert (applied["rounding"], applied["watched"]) == ("fitted", "proxies")
    assert applied["scale"] == min(applied["scale_curve"], key=lambda point: point[1])[0]
    assert applied["grid"]["range"] == "trellis"
    expected = qv.quantize_(qv.patch_(receiver, vector, applied["scale"]), "int3-channel-trellis", rounding="fitted")
    assert torch.equal(qv.from_pretrained(tmp_path / "out")(pixels).logits, expected(pixels).logits)

    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(receiver_folder)
    (tmp_path / "photos").mkdir()
    empty = qvec(*how, "--rounding", "gptq", "--images", "photos")
    assert empty.returncode == 1
    assert "expected images" in empty.stderr
    for number in range(5):
        Image.fromarray(proxy_images(5, 20)[number]).save(tmp_path / "photos" / f"{number}.png")
    done = qvec(*how, "--scale", "auto", "--rounding", "gptq", "--images", "photos")
    assert done.returncode == 0, done.stderr
    assert "not zero-shot" in done.stdout
    assert "divergence" in done.stdout


def test_failures_are_one_line_and_exit_1_and_write_nothing(
    qvec, receiver_folder: Path, vector_folder: Path, tmp_path
) -> None:
    for arguments in [
        ("extract", "nowhere", receiver_folder, "--out", "x"),
        ("info", "nowhere"),
        ("info", receiver_folder),
        ("apply", receiver_folder, "--vector", "nowhere", "--out", "x"),
        ("apply", receiver_folder, "--vector", vector_folder, "--weights", "int1", "--out", "x"),
        ("apply", receiver_folder, "--vector", vector_folder, "--scale", "big", "--out", "x"),
        ("apply", receiver_folder, "--out", receiver_folder / "config.json"),
    ]:
        done = qvec(*arguments)
        assert done.returncode == 1, arguments
        assert done.stdout == ""
        assert done.stderr.splitlines()[-1].startswith("qvec: ")
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "x").exists()


def test_usage_errors_exit_2(qvec) -> None:
    assert qvec("apply").returncode == 2
    assert qvec("nonsense").returncode == 2


def test_every_command_helps_with_an_example(qvec) -> None:
    commands = ["demo", "extract", "info", "apply", "eval", "train"]
    listing = qvec("--help").stdout
    for command in commands:
        assert command in listing
        shown = qvec(command, "--help").stdout
        assert f"Example: qvec {command}" in " ".join(shown.split())


def test_the_installed_command(tmp_path: Path) -> None:
    command, file = Path(sys.executable).with_name("qvec"), tmp_path / "file"
    file.touch()
    call = [command, "train", "base", "images", "--out", file]  # which fails before torch is imported
    done = subprocess.run(call, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"qvec: {file}: is a file")
