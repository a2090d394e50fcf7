"""extract → apply → eval on real images gives exactly the counts of the formula, computed without this package."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ViTForImageClassification, ViTImageProcessor

from qvec_hub import zoo

from ..conftest import fine_tuned


def expected_correct(folder: Path, bits: int, scale: float) -> int:
    """θ_R + λ(θ_QAT − θ_FP), rounded per row (arXiv 2604.03420), on plain state dicts and a plain model."""
    fp, qat, receiver = (load_file(folder / name / "model.safetensors") for name in ("fp", "qat", "receiver"))
    patched = {}
    for name, weight in receiver.items():
        patched[name] = weight if name.startswith("classifier") else weight + scale * (qat[name] - fp[name])
        if weight.ndim == 2 and ".encoder." in name:
            qmax = 2 ** (bits - 1) - 1
            step = patched[name].abs().amax(1, keepdim=True).clamp(min=1e-8) / qmax
            patched[name] = torch.clamp(torch.round(patched[name] / step), -qmax - 1, qmax) * step
    (folder / "by_hand").mkdir(exist_ok=True)
    save_file(patched, folder / "by_hand" / "model.safetensors", metadata={"format": "pt"})
    (folder / "by_hand" / "config.json").write_text((folder / "receiver" / "config.json").read_text())
    model = ViTForImageClassification.from_pretrained(folder / "by_hand").eval()
    digits = zoo.load_task("digits")["test"]
    processor = ViTImageProcessor.from_pretrained(folder / "receiver")
    with torch.inference_mode():
        logits = model(**processor(list(digits["image"]), return_tensors="pt")).logits
    return int((logits.argmax(1) == torch.tensor(digits["label"][:])).sum())


@pytest.mark.parametrize(("bits", "scale"), [(2, 1.0), (3, 0.6)])
def test_counts_are_those_of_the_formula(qvec, bits: int, scale: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = ViTForImageClassification.from_pretrained(zoo.base_path(), num_labels=10)
    for seed, name in enumerate(["fp", "qat", "receiver"]):
        fine_tuned(base, 0.02, seed).save_pretrained(tmp_path / name)
        ViTImageProcessor.from_pretrained(zoo.base_path()).save_pretrained(tmp_path / name)
    assert qvec("extract", "fp", "qat", "--grid", f"int{bits}", "--out", "vector").returncode == 0
    applied = qvec(
        "apply", "receiver", "--vector", "vector", "--weights", f"int{bits}", "--scale", scale, "--out", "out"
    )
    assert applied.returncode == 0, applied.stderr
    counted = json.loads(qvec("eval", "out", "zoo:digits", "--json").stdout)
    assert counted["n"] == 600
    assert counted["correct"] == expected_correct(tmp_path, bits, scale)
