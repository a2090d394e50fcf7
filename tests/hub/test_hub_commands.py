"""The commands of the Hub, one after the other, as a donor and a deployer would type them."""

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, ModelCard

import qvec_hub as qv
from qvec_hub.results.row import DonorUse, Row
from qvec_hub.results.rows import append_row


def row(method: str, correct: int, **about) -> Row:
    return Row(
        suite="s", suite_version="1", receiver="lab/flowers", receiver_revision=None, dataset="flowers",
        dataset_revision=None, split="test", method=method, grid=None if method == "fp" else qv.Grid.parse("int3"),
        donors=about.get("donors", ()), merge=None, scale=about.get("scale"), scale_policy=about.get("scale_policy"),
        control=None, seed=0, n=100, correct=correct, wall_s=1.0, image_backend="pil", versions={}, device="cpu",
        created="2026-11-21T00:00:00+00:00",
    )  # fmt: skip


@pytest.fixture
def published(hub, base, finetuned, qat, receiver, tmp_path: Path) -> Path:
    """Base and receiver on the Hub; donor checkpoints in the folder."""
    base.push_to_hub("lab/base")
    receiver.save_pretrained(tmp_path / "receiver")
    card = "---\nbase_model: lab/base\n---\n"
    (tmp_path / "receiver" / "README.md").write_text(card)
    (tmp_path / "receiver" / "preprocessor_config.json").write_text('{"image_processor_type": "ViTImageProcessor"}')
    HfApi().create_repo("lab/receiver")
    HfApi().upload_folder(repo_id="lab/receiver", folder_path=tmp_path / "receiver")
    finetuned.save_pretrained(tmp_path / "fp")
    qat.save_pretrained(tmp_path / "qat")
    return tmp_path


def test_from_two_checkpoints_to_a_published_model(hub, published: Path, qvec, pixels) -> None:
    made = qvec("extract", "fp", "qat", "--base", "lab/base", "--task", "toys", "--out", "v")
    assert made.returncode == 0, made.stderr
    use = DonorUse("alice/toys")
    append_row(published / "rows.jsonl", row("ptq", 60))
    append_row(published / "rows.jsonl", row("qvec", 80, donors=(use,), scale=1.0, scale_policy="unit"))
    pushed = qvec("push", "v", "alice/toys", "--license", "mit", "--rows", "rows.jsonl", "--json")
    assert pushed.returncode == 0, pushed.stderr
    commit = json.loads(pushed.stdout)["commit"]
    assert HfApi().model_info("alice/toys").sha == commit
    assert "0.600 (60/100) | 0.800 (80/100)" in ModelCard.load("alice/toys").content

    found = json.loads(qvec("search", "--for", "lab/receiver", "--bits", "3", "--json").stdout)
    assert [vector["vector"] for vector in found["vectors"]] == ["alice/toys"]
    assert found["vectors"][0]["mean_gain"] == pytest.approx(0.2)
    assert qvec("search", "--for", "lab/receiver").stdout.splitlines()[1].startswith("alice/toys\ttoys")
    info = json.loads(qvec("info", "alice/toys", "--receiver", "lab/receiver", "--json").stdout)
    assert info["hub"]["commit"] == commit
    assert info["receiver"]["fits"] is True

    applied = qvec(
        "apply",
        "lab/receiver",
        "--vector",
        "alice/toys",
        "--weights",
        "int3",
        "--rounding",
        "nearest",
        "--out",
        "small",
    )
    assert applied.returncode == 0, applied.stderr
    record = json.loads((published / "small" / "config.json").read_text())["quantization_config"]
    assert (record["vector"][0]["repo_id"], record["vector"][0]["revision"]) == ("alice/toys", commit)
    assert record["base_model"]["repo_id"] == "lab/base"
    assert record["receiver"]["repo_id"] == "lab/receiver"
    with (published / "small" / "README.md").open("a") as card:
        card.write("\n## Notes\n\nby hand\n")
    model = qvec("push", "small", "alice/small", "--json")
    assert model.returncode == 0, model.stderr
    card = ModelCard.load("alice/small")
    assert (card.data.base_model, card.data.base_model_relation) == ("lab/receiver", "quantized")
    assert "by hand" in card.content
    assert 'from_pretrained("alice/small")' in card.content
    processor = (published / "small" / "preprocessor_config.json").read_bytes()
    assert hub.files("alice/small")["preprocessor_config.json"] == processor
    here, there = qv.from_pretrained(published / "small"), qv.from_pretrained("alice/small")
    with torch.inference_mode():
        assert torch.equal(here(pixels).logits, there(pixels).logits)


def test_a_processor_that_does_not_load_here_is_pushed_too(hub, published: Path, qvec) -> None:
    qv.from_pretrained(published / "receiver", weights="int3", rounding="nearest").save_pretrained(published / "small")
    (published / "small" / "preprocessor_config.json").write_text('{"image_processor_type": "OfSomebodyElse"}')
    pushed = qvec("push", "small", "alice/small")
    assert pushed.returncode == 0, pushed.stderr
    assert hub.files("alice/small")["preprocessor_config.json"] == b'{"image_processor_type": "OfSomebodyElse"}'


def test_a_pull_request_by_command(published: Path, qvec, vector) -> None:
    vector.push_to_hub("lab/toys")
    vector.save_pretrained(published / "v")
    done = qvec("push", "v", "lab/toys", "--create-pr", "--token", "hf_bob", "--license", "mit")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("/lab/toys/discussions/1")
    assert qv.QuantizationVector.from_pretrained("lab/toys@refs/pr/1").norm() == pytest.approx(vector.norm())


@pytest.mark.parametrize(
    ("folder", "more", "reason"),
    [
        ("receiver", [], "is a float model"),
        ("receiver", ["--license", "mit"], "is a model, so --license"),
        ("nowhere", [], "no such folder"),
        ("fp", ["--rows", "none.jsonl"], "is a model, so --rows"),
    ],
)
def test_what_cannot_be_pushed(published: Path, qvec, folder: str, more: list[str], reason: str) -> None:
    done = qvec("push", folder, "alice/x", *more)
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr


def test_rows_that_measure_something_else(published: Path, qvec, vector) -> None:
    vector.save_pretrained(published / "v")
    append_row(published / "rows.jsonl", row("ptq", 60))
    done = qvec("push", "v", "alice/x", "--rows", "rows.jsonl")
    assert done.returncode == 1
    assert "none measures alice/x alone" in done.stderr
