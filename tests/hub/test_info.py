"""``qvec info`` of vectors on the Hub and in folders: facts, evidence, verdicts, and how it fails."""

import json
from pathlib import Path

import pytest
import torch
from transformers import ViTForImageClassification

from qvec_hub.artifact.config import VectorConfig
from qvec_hub.hub.cards.vector_card import vector_card
from tests.conftest import tiny_config
from tests.hub_server import Fault

from .library import BASE, evidence


def info(qvec, *arguments) -> dict:
    done = qvec("info", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_vector_on_the_hub(library, qvec) -> None:
    commit = library.put("a/v", gains=[0.2, -0.1], downloads=41, likes=5)
    said = info(qvec, "a/v")
    hub = said["hub"]
    assert hub.pop("last_modified").endswith("Z")
    # The Hub counts the download that has just happened, too.
    assert hub == {
        "repo_id": "a/v",
        "commit": commit,
        "downloads": 42,
        "likes": 5,
        "private": False,
        "gated": False,
    }
    assert said["license"] == "unknown"
    assert said["evidence"]["mean_gain"] == pytest.approx(0.05)
    assert (said["evidence"]["wins"], said["evidence"]["pairs"], said["evidence"]["control_pairs"]) == (1, 2, 2)
    assert (said["base_model"], said["grid"], said["receiver"]) == (BASE, "int3-channel-absmax", None)
    assert len(said["table"]) == said["tensors"] == 38

    lines = dict(line.split("\t") for line in qvec("info", "a/v").stdout.splitlines()[:40] if line.count("\t") == 1)
    assert lines["mean gain"] == "+5.0 points over plain rounding, in 2 comparisons"
    assert lines["win rate"] == "1 of 2"
    assert lines["random vector"] == "+0.1 points"
    assert lines["worst"] == "−10.0 points, me/r1"
    assert (lines["commit"], lines["license"], lines["private"]) == (commit, "unknown", "no")


def test_at_a_revision(library, qvec) -> None:
    first = library.put("a/v", gains=[0.2])
    second = library.put("a/v", gains=[0.1])
    for revision, gain in [(first, 0.2), (second, 0.1), ("main", 0.1)]:
        said = info(qvec, f"a/v@{revision}")
        assert said["evidence"]["mean_gain"] == pytest.approx(gain)
    assert said["hub"]["commit"] == second


def test_private_and_gated(library, qvec) -> None:
    library.put("bob/secret", private=True)
    library.put("bob/gated", gated="manual")
    for name, reason in [("bob/secret", "no such repository"), ("bob/gated", "access must be granted first")]:
        done = qvec("info", name)
        assert (done.returncode, done.stdout) == (1, "")
        assert reason in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert info(qvec, "bob/secret", "--token", "hf_bob")["hub"]["private"] is True
    assert info(qvec, "bob/gated", "--token", "hf_bob")["hub"]["gated"] is True


def test_a_folder_of_a_repository(library, qvec) -> None:
    inner = {f"two/{name}": data for name, data in library.made("a/v", BASE, [0.3], "bees", "int2").items()}
    library.put("a/v", files=inner)
    said = info(qvec, "hf://a/v/two")
    assert (said["task"], said["grid"]) == ("bees", "int2-channel-absmax")
    assert said["evidence"]["mean_gain"] == pytest.approx(0.3)
    assert said["hub"]["repo_id"] == "a/v"


def test_when_the_hub_no_longer_answers(library, qvec) -> None:
    commit = library.put("a/v", gains=[0.2])
    info(qvec, "a/v")
    library.hub.inject(Fault("status", path="/api/models/a/v/revision/.*expand", code=500, times=None))
    done = qvec("info", f"a/v@{commit}", "--json")
    said = json.loads(done.stdout)
    assert said["hub"] == {"repo_id": "a/v", "commit": commit}
    assert said["evidence"]["pairs"] == 1
    assert "could not be looked up" in done.stderr


def test_a_folder(qvec, vector_folder: Path) -> None:
    said = info(qvec, vector_folder)
    assert (said["hub"], said["evidence"], said["license"]) == (None, None, "unknown")
    card = vector_card(VectorConfig.read(vector_folder / "qvec_config.json"), "a/v", 10, evidence("a/v", [0.2]))
    (vector_folder / "README.md").write_text(card.replace("license: unknown", "license: mit"))
    said = info(qvec, vector_folder)
    assert (said["hub"], said["license"], said["evidence"]["pairs"]) == (None, "mit", 1)
    for damaged in ("---\n[\n---\n", "---\n- 1\n---\n", "", "---\nquantization_vector_results: 5\nlicense: {}\n---\n"):
        (vector_folder / "README.md").write_text(damaged)
        assert info(qvec, vector_folder)["evidence"] is None
    (vector_folder / "README.md").unlink()
    assert "not yet, or its card does not say" in qvec("info", vector_folder).stdout


BROKEN = {
    "no config": ({"qvec_config.json": None}, "holds no qvec_config.json"),
    "config": ({"qvec_config.json": b"{"}, "not readable as JSON"),
    "newer": ({"qvec_config.json": b'{"format_version": 7}'}, "format_version 7 is newer than 1"),
    "no tensors": ({"qvec.safetensors": None}, "holds qvec_config.json but no tensors"),
    "torn": ({"qvec.safetensors": b"x" * 5000}, "not a safetensors file"),
    "sketch": ({"lineage.safetensors": b"x" * 500}, "not a safetensors file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_ends_in_one_line(library, qvec, name: str) -> None:
    files, reason = BROKEN[name]
    library.put("a/v", files=files)
    for arguments in [("a/v",), ("a/v", "--json")]:
        done = qvec("info", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1
        assert reason in done.stderr


def test_does_it_fit(library, qvec, receiver_folder: Path, tmp_path: Path) -> None:
    library.put("a/v")
    files = {path.name: path.read_bytes() for path in receiver_folder.iterdir()}
    old = library.hub.seed("bob/flowers", files, private=True)
    torch.manual_seed(3)
    for name, changes in {"wide": {"hidden_size": 48}, "unrelated": {}, "other": {}}.items():
        ViTForImageClassification(tiny_config(**changes)).save_pretrained(tmp_path / name)
    library.hub.seed("bob/flowers", {"model.safetensors": (tmp_path / "unrelated" / "model.safetensors").read_bytes()})

    said = info(qvec, "a/v", "--receiver", receiver_folder)["receiver"]
    assert (said["fits"], said["reason"]) == (True, None)
    assert said["similarity"] > 0.9
    said = info(qvec, "a/v", "--receiver", f"bob/flowers@{old}", "--token", "hf_bob")["receiver"]
    assert said["fits"] is True
    said = info(qvec, "a/v", "--receiver", "bob/flowers", "--token", "hf_bob")["receiver"]
    assert said["fits"] is False
    assert f"does not descend from {BASE}: similarity" in said["reason"]
    said = info(qvec, "a/v", "--receiver", "wide")["receiver"]
    assert said["fits"] is False
    assert "hidden_size 32 ≠ 48" in said["reason"]
    assert "encoder.layer.1.output.dense.weight has shape" in said["reason"]

    shown = qvec("info", "a/v", "--receiver", "wide").stdout.splitlines()[-1]
    assert shown.startswith("wide: does not fit: the vector does not fit the receiver (vector ≠ receiver: hidden_size")
    assert len(shown) <= 1000
    assert qvec("info", "a/v", "--receiver", receiver_folder).stdout.splitlines()[-1].endswith("to the vector's base)")
    done = qvec("info", "a/v", "--receiver", "nowhere/at-all")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


def test_a_vector_without_a_sketch_says_that_the_base_is_unknown(library, qvec, receiver_folder: Path) -> None:
    library.put("a/v", files={"lineage.safetensors": None})
    said = info(qvec, "a/v", "--receiver", receiver_folder)["receiver"]
    assert (said["fits"], said["similarity"]) == (True, None)
    assert "its base is unknown" in said["verdict"]
