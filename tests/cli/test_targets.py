"""Where the commands write: what they refuse before they compute, and how they end when they are stopped."""

import os
import signal
import threading
from pathlib import Path

import pytest

import qvec_hub as qv
from qvec_hub.loading import from_pretrained as loading


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def unread(monkeypatch):
    def fail(*args, **options):
        raise AssertionError("loaded before the target was looked at")

    for owner, name in [(loading, "find_checkpoint"), (qv.QuantizationVector, "from_pretrained")]:
        monkeypatch.setattr(owner, name, fail)
    monkeypatch.setattr(qv.QuantizationVector, "extract", fail)


@pytest.mark.parametrize("out", ["receiver", "receiver/", "./receiver", "x/../receiver", "link", "copy", "."])
def test_a_float_model_is_not_replaced_by_accident(out, qvec, receiver_folder, tmp_path, monkeypatch, unread):
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to("receiver")
    (tmp_path / "copy").mkdir()
    for path in receiver_folder.iterdir():  # as in a snapshot in the Hub's cache
        (tmp_path / "copy" / path.name).symlink_to(path)
    if out == ".":
        monkeypatch.chdir(receiver_folder)
    before = contents(tmp_path)
    done = qvec("apply", receiver_folder, "--weights", "int3", "--rounding", "nearest", "--out", out)
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert "--overwrite" in done.stderr
    assert contents(tmp_path) == before


def test_unless_it_is_asked_for_and_a_quantized_one_is_replaced(qvec, receiver_folder, tmp_path) -> None:
    assert (
        qvec("apply", receiver_folder, "--out", "quantized", "--weights", "int2", "--rounding", "nearest").returncode
        == 0
    )
    (tmp_path / "quantized" / "README.md").write_text("by hand")
    assert qvec("apply", receiver_folder, "--out", "quantized", "--weights", "int4").returncode == 0
    assert qv.from_pretrained(tmp_path / "quantized").config.quantization_config.grid.bits == 4
    assert "by hand" in (tmp_path / "quantized" / "README.md").read_text()
    assert (
        qvec("apply", receiver_folder, "--out", receiver_folder, "--rounding", "nearest", "--overwrite").returncode == 0
    )
    assert qv.from_pretrained(receiver_folder).config.quantization_config.grid.bits == 3


COMMANDS = {
    "apply": ["apply", "receiver", "--out", "OUT"],
    "extract": ["extract", "receiver", "receiver", "--out", "OUT"],
    "merge": ["merge", "a", "b", "--out", "OUT"],
    "train": ["train", "no/base", "zoo:digits", "--out", "OUT"],
    "bench run": ["bench", "run", "zoo-mini", "--out", "OUT"],
    "bench report": ["bench", "report", "rows.jsonl", "--out", "OUT"],
    "zoo build": ["zoo", "build", "--out", "OUT"],
    "demo": ["demo", "--out", "OUT"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("out", ["file", "file/inside", "n" * 300])
def test_a_target_that_cannot_be_written_to(command, out, qvec, receiver_folder, tmp_path, unread) -> None:
    (tmp_path / "file").touch()
    before = contents(tmp_path)
    done = qvec(*[each.replace("OUT", out) for each in COMMANDS[command]])
    assert done.returncode == 1, done
    assert done.stderr.startswith(f"qvec: {out}: ")
    assert done.stderr.count("\n") == 1
    assert contents(tmp_path) == before


def test_a_merge_does_not_replace_one_of_its_inputs_by_accident(qvec, vector, tmp_path) -> None:
    vector.save_pretrained(tmp_path / "a")
    (3 * vector).save_pretrained(tmp_path / "b")
    (tmp_path / "link").symlink_to("a")
    before = contents(tmp_path)
    done = qvec("merge", "a", "b", "--out", "link")
    assert done.returncode == 1
    assert "is one of the vectors to merge" in done.stderr
    assert contents(tmp_path) == before
    assert qvec("merge", "a", "b", "--out", "link", "--overwrite").returncode == 0
    assert (tmp_path / "link").is_symlink()
    merged = qv.QuantizationVector.from_pretrained(tmp_path / "a")
    assert merged.norm() == pytest.approx(2 * vector.norm(), rel=1e-5)


def test_a_vector_merged_into_one_of_its_own_inputs(vector, tmp_path) -> None:
    vector.save_pretrained(tmp_path / "a")
    (3 * vector).save_pretrained(tmp_path / "b")
    opened = [qv.QuantizationVector.from_pretrained(tmp_path / name) for name in "ab"]
    qv.merge(opened).save_pretrained(tmp_path / "a")
    opened[0].save_pretrained(tmp_path / "b")  # what is open is what it was
    assert qv.QuantizationVector.from_pretrained(tmp_path / "a").norm() == pytest.approx(2 * vector.norm(), rel=1e-5)
    assert qv.QuantizationVector.from_pretrained(tmp_path / "b").norm() == pytest.approx(vector.norm(), rel=1e-5)


def test_extract_does_not_write_into_a_model(qvec, finetuned, qat, tmp_path) -> None:
    finetuned.save_pretrained(tmp_path / "fp")
    qat.save_pretrained(tmp_path / "qat")
    before = contents(tmp_path)
    done = qvec("extract", "fp", "qat", "--out", "fp")
    assert (done.returncode, "holds a model" in done.stderr) == (1, True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_in_the_middle_of_a_save(number, code, qvec, receiver_folder, tmp_path, monkeypatch) -> None:
    from transformers import PreTrainedModel

    qvec("apply", receiver_folder, "--out", "quantized", "--weights", "int2", "--rounding", "nearest")
    before = contents(tmp_path)
    real = PreTrainedModel.save_pretrained

    def stopped(model, folder, **options):
        real(model, folder, **options)
        os.kill(os.getpid(), number)
        threading.Event().wait(10)  # until the signal has arrived

    handler = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before_test = signal.signal(number, handler)  # one that is ignored, as under nohup, stays ignored
    monkeypatch.setattr(PreTrainedModel, "save_pretrained", stopped)
    done = qvec("apply", receiver_folder, "--out", "quantized", "--weights", "int4")
    assert done.returncode == code
    assert contents(tmp_path) == before
    assert not list(tmp_path.rglob(".qvec-*"))
    assert signal.getsignal(number) == handler
    signal.signal(number, before_test)
