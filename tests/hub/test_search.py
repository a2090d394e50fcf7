"""`search` through the real client: what it finds, in which order, and with how few requests."""

import json
import re

import pytest
import torch

import qvec_hub as qv
from qvec_hub.hub.cards.front_matter import TAG
from qvec_hub.hub_search.search import VERIFIED
from tests.hub_server import Fault

from .library import BASE


def names(found) -> list[str]:
    return [vector.name for vector in found]


def test_the_best_evidence_comes_first_then_downloads(library) -> None:
    library.put("a/once", gains=[0.30], downloads=10)  # 0.30 on one receiver counts 0.075
    library.put("a/often", gains=[0.20] * 9)  # 0.15
    library.put("a/harmful", gains=[-0.1, -0.1])
    library.put("a/popular", downloads=900)
    library.put("a/unknown", downloads=2)
    library.put("a/other", "org/elsewhere", gains=[0.5] * 9)
    found = qv.search(base_model=BASE)
    assert names(found) == ["a/often", "a/once", "a/popular", "a/unknown", "a/harmful"]
    assert [round(vector.score, 6) for vector in found] == [0.15, 0.075, 0, 0, -0.04]
    assert (found.base_model, found.found_by, found.total, found.broken) == (BASE, "as asked for", 5, ())
    assert names(qv.search()) == ["a/other", *names(found)]


@pytest.mark.parametrize("told", [True, False])
def test_base_donors_come_before_others_that_nobody_measured(told: bool, library) -> None:
    """One serves every fine-tune of a base; where the card says nothing, the config tells."""
    library.put("a/popular", downloads=900)
    silent = {} if told else {"card": f"---\ntags: [{TAG}]\n---\n".encode()}
    library.put("a/base", task=None, recipe={"name": "distill"}, **silent)
    library.put("a/measured", gains=[0.2] * 3)
    found = qv.search(base_model=BASE)
    assert names(found) == ["a/measured", "a/base", "a/popular"]
    assert [vector.of_base for vector in found] == [False, True, False]


def test_what_a_hit_says(library) -> None:
    commit = library.put("a/v", gains=[0.2, -0.1, 0.05], downloads=7, likes=3, grid="int2-channel-mse")
    said = qv.search(base_model=BASE).to_dict()["vectors"][0]
    when = said.pop("last_modified")
    assert when.endswith("Z")
    assert said == {
        "vector": "a/v",
        "repo_id": "a/v",
        "subfolder": None,
        "revision": commit,
        "task": "toys",
        "dataset": None,
        "base_model": BASE,
        "of_base": False,
        "grid": "int2-channel-mse",
        "scale": 1.0,
        "parameters": json.loads(library.files["qvec_config.json"])["tensors"]["parameters"],
        "size": len(library.files["qvec.safetensors"]),
        "downloads": 7,
        "likes": 3,
        "license": "unknown",
        "private": False,
        "gated": False,
        "lineage": True,
        "told": True,
        "verified": True,
        "broken": None,
        "unreachable": False,
        "bits": 2,
        "mean_gain": pytest.approx(0.05),
        "win_rate": pytest.approx(2 / 3),
        "wins": 2,
        "pairs": 3,
        "receivers": 3,
        "control_gain": pytest.approx(0.001),
        "control_pairs": 3,
        "worst_gain": pytest.approx(-0.1),
        "worst_receiver": "me/r1",
        "score": pytest.approx(0.025),
    }


def test_filters(library) -> None:
    library.put("a/three", task="EuroSAT")
    library.put("a/mse", grid="int3-channel-mse", task=None)
    library.put("a/two", grid="int2-channel-mse", task="flowers")
    assert set(names(qv.search(bits=3))) == {"a/three", "a/mse"}
    assert names(qv.search(grid="int3")) == ["a/three"]
    assert names(qv.search(grid=qv.Grid.parse("int2-channel-mse"))) == ["a/two"]
    assert names(qv.search(task="eurosat")) == ["a/three"]
    assert names(qv.search(bits=3, task="flowers")) == []
    assert len(qv.search(limit=1)) == 1
    assert qv.search(limit=1).total == 3
    for wrong in [{"base_model": "base"}, {"limit": 0}, {"grid": "int9"}]:
        with pytest.raises(qv.QVecError):
            qv.search(**wrong)


def test_two_thousand_vectors_cost_the_pages_and_the_configs_of_the_best(library) -> None:
    named, unnamed = (library.made("lab/v", base, [0.1], "toys", "int3") for base in (BASE, None))
    for i in range(2000):
        library.hub.seed(f"lab{i % 7}/v{i}", unnamed if i % 10 == 0 else named, downloads=i)
    library.hub.clear_requests()
    seen: list[int] = []
    found = qv.search(base_model=BASE, advance=seen.append)
    assert found.total == 1800
    assert names(found)[:3] == ["lab4/v1999", "lab3/v1998", "lab2/v1997"]
    pages = [each for each in library.hub.requests if each.path.startswith("/api/")]
    assert len(pages) == 2
    assert sorted(library.opened()) == sorted(names(found)[:VERIFIED])
    # The client asks for a file's size and hash before it fetches it.
    assert len(library.hub.requests) <= 2 + 3 * VERIFIED
    assert [vector.verified for vector in found] == [True] * VERIFIED + [False] * (1800 - VERIFIED)
    assert seen == list(range(100, 2001, 100))

    library.hub.clear_requests()
    assert names(qv.search(base_model=BASE)) == names(found)
    assert len(library.hub.requests) == 2  # the configs are in the cache, at these commits


def test_a_config_is_opened_once_where_the_card_says_too_little(library) -> None:
    bare = b"---\ntags: [quantization-vector]\n---\n"
    library.put("a/bare", card=bare, task="EuroSAT", grid="int2-channel-mse")
    library.put("a/elsewhere", "org/elsewhere", card=bare)
    library.put("a/told")
    found = qv.search(base_model=BASE, bits=2)
    assert names(found) == ["a/bare"]
    assert (found[0].task, found[0].grid, found[0].verified) == ("EuroSAT", "int2-channel-mse", True)
    assert sorted(library.opened()) == ["a/bare", "a/elsewhere"]


def test_standard_metadata_is_enough(library) -> None:
    standard = f"---\ntags: [quantization-vector, int2-channel-mse]\nbase_model: {BASE}\n---\n".encode()
    for i in range(VERIFIED + 5):
        library.put(f"a/plain{i}", card=standard, grid="int2-channel-mse")
    assert len(qv.search(base_model=BASE, bits=2)) == VERIFIED + 5
    assert len(library.opened()) == VERIFIED


def test_a_vector_of_an_unpublished_base_is_told_by_its_card(library) -> None:
    library.put("a/unnamed", None, downloads=1)
    library.hub.clear_requests()
    assert names(qv.search(base_model=BASE)) == []
    assert len(library.hub.requests) == 1
    assert names(qv.search()) == ["a/unnamed"]


def test_keys_of_a_newer_version_do_no_harm(library) -> None:
    config = json.loads(library.files["qvec_config.json"])
    config |= {"base_model": {"repo_id": BASE, "revision": None}, "invented": 1}
    library.put("a/newer", files={"qvec_config.json": json.dumps(config).encode()})
    assert names(qv.search(base_model=BASE)) == ["a/newer"]


def test_private_vectors_are_found_with_the_owners_token(library) -> None:
    library.put("bob/secret", private=True)
    library.put("alice/secret", private=True)
    assert names(qv.search()) == ["alice/secret"]
    assert names(qv.search(token="hf_bob")) == ["bob/secret"]
    assert names(qv.search(token=False)) == []
    assert qv.search(token="hf_bob")[0].private


def test_gated_vectors_are_shown_as_their_cards_describe_them(library) -> None:
    library.put("bob/gated", gated="manual", gains=[0.1])
    library.put("bob/gated-and-silent", gated="auto", card=b"---\ntags: quantization-vector\n---\n")
    found = qv.search(base_model=BASE)
    assert names(found) == ["bob/gated"]
    assert (found[0].gated, found[0].verified, found[0].broken) == (True, False, None)
    assert found.broken == ()
    assert qv.search(base_model=BASE, token="hf_bob")[0].verified
    assert {vector.name for vector in qv.search()} == {"bob/gated", "bob/gated-and-silent"}


def test_vectors_in_folders_of_one_repository(library) -> None:
    made = library.made("a/many", BASE, (), "toys", "int3")
    inner = {f"two/{name}": data for name, data in library.made("a/many", BASE, (), "bees", "int2").items()}
    library.put("a/many", files={**made, **inner, "empty/qvec_config.json": made["qvec_config.json"]})
    found = qv.search()
    assert sorted((vector.name, vector.task, vector.bits) for vector in found) == [
        ("a/many", "toys", 3),
        ("hf://a/many/two", "bees", 2),
    ]
    assert [vector.name for vector in found.broken] == ["hf://a/many/empty"]
    opened = qv.QuantizationVector.from_pretrained("hf://a/many/two")
    assert torch.equal(opened["layernorm.weight"], qv.QuantizationVector.from_pretrained("a/many")["layernorm.weight"])


def test_a_page_that_fails_once_is_asked_for_again(library) -> None:
    library.hub.context.page_size = 2
    for i in range(5):
        library.put(f"a/v{i}")
    library.hub.inject(Fault("status", path="cursor", code=503), Fault("cut", path="cursor", at=30))
    assert len(qv.search()) == 5


@pytest.mark.parametrize("code", [401, 403, 404, 500])
def test_a_listing_that_fails_for_good_is_an_error(library, code: int) -> None:
    library.hub.context.page_size = 2
    for i in range(5):
        library.put(f"a/v{i}")
    library.hub.inject(Fault("status", path="cursor", code=code, times=None))
    with pytest.raises(qv.HubError, match="the list of vectors"):
        qv.search()


def test_a_listing_that_is_none_is_an_error(library) -> None:
    library.put("a/v")
    library.hub.inject(Fault("truncate", path="^/api/models", at=20, times=None))
    with pytest.raises(qv.HubError, match="the list of vectors"):
        qv.search()


COLUMNS = ["vector", "task", "grid", "gain", "wins", "control", "size", "downloads"]


def test_the_command(library, qvec, receiver_folder) -> None:
    library.put("a/v", gains=[0.2, -0.1], task="EuroSAT", downloads=1234)
    library.put("a/w", task=None)
    library.put("a/broken", files={"qvec_config.json": b"{"})
    done = qvec("search", "--for", receiver_folder, "--bits", 3)
    assert done.returncode == 0, done.stderr
    size = f"{len(library.files['qvec.safetensors']) / 1000:.1f} kB"
    assert [line.split("\t") for line in done.stdout.splitlines()] == [
        COLUMNS,
        ["a/v", "EuroSAT", "int3-channel-absmax", "+5.0", "1/2", "+0.1", size, "1234"],
        ["a/w", "–", "int3-channel-absmax", "–", "–", "–", size, "0"],
    ]
    base, broken = done.stderr.splitlines()
    assert base.startswith(f"base: {BASE} (its weights, similarity 0.99")
    assert broken.startswith("broken: a/broken: qvec_config.json: not readable as JSON")

    done = qvec("search", "--base", BASE, "--task", "euro", "--json")
    said = json.loads(done.stdout)
    assert list(said) == ["base_model", "found_by", "total", "vectors", "broken"]
    assert [vector["vector"] for vector in said["vectors"]] == ["a/v"]
    assert said["broken"] == []  # of another task, so never opened
    said = json.loads(qvec("search", "--base", BASE, "--json").stdout)
    assert [vector["vector"] for vector in said["broken"]] == ["a/broken"]

    done = qvec("search", "--limit", 1)
    assert len(done.stdout.splitlines()) == 2
    assert "1 of 3 vectors" in done.stderr
    assert "no vector fits" in qvec("search", "--bits", 8).stderr


def test_the_command_when_it_fails(library, qvec) -> None:
    for arguments in [("--for", "nobody/nothing"), ("--for", "./nowhere"), ("--grid", "int9"), ("--base", "x")]:
        done = qvec("search", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1
    library.hub.inject(Fault("status", path="/api/models", code=500, times=None))
    done = qvec("search")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("qvec: the list of vectors: could not be fetched")
    assert qvec("search", "--bits", 9).returncode == 2
    assert "n / (n + 3)" in qvec("search", "--help").stdout


@pytest.mark.parametrize("width", [100, 120])
def test_the_table_on_a_terminal(library, qvec, monkeypatch, width: int) -> None:
    long = "some-organisation/vit-base-patch16-224-in21k-eurosat-int2-channel-mse-qvec"
    library.put(
        long, gains=[0.2] * 12, grid="int2-channel-mse", task="A task with a name of many words", downloads=10**6
    )
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": str(width)}.items():
        monkeypatch.setenv(name, value)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", qvec("search").stdout).splitlines()
    assert max(map(len, lines)) <= width
    head = next(line for line in lines if "downloads" in line)
    assert head.split() == COLUMNS
    row = next(line for line in lines if "int2-channel-mse " in line)
    assert row.split()[-7:-3] == ["int2-channel-mse", "+20.0", "12/12", "+0.1"]
    ends = head.index("task")
    assert "".join(line[:ends].strip() for line in lines[lines.index(row) :]) == long


def test_nothing_untrusted_reaches_the_terminal_as_it_is(library, qvec, monkeypatch) -> None:
    escape = "\x1b]0;owned\x07\u202e\x9b31m[bold red]"
    config = json.loads(library.files["qvec_config.json"])
    library.put("a/hostile", card=b"---\ntags: [quantization-vector]\n---\n", files={
        "qvec_config.json": json.dumps({**config, "model_type": escape, escape: escape}).encode()
    })  # fmt: skip
    library.put("a/markup", task="[bold red]task[/] :smile:")
    folder = f"{escape}/qvec_config.json"
    library.hub.seed("a/folders", {**library.made("a/f", BASE, (), escape[-10:], "int3"), folder: b"{"}, raw_names=True)
    for terminal in (False, True):
        if terminal:
            monkeypatch.setenv("FORCE_COLOR", "1")
            monkeypatch.setenv("TERM", "xterm")
        done = qvec("search")
        assert done.returncode == 0
        for text in (done.stdout, done.stderr):
            assert not set("\x07\x9b\u202e") & set(text)
            assert "\x1b]" not in text
        assert "[bold red]task[/] :smile:" in done.stdout
        assert "broken: a/hostile" in done.stderr
        assert "\\x1b]0;owned\\x07" in done.stderr
