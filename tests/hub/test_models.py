"""Quantized models in the Hub: pushed with a card in one commit, loaded bit for bit, and what they remember."""

import copy
import io
import json
import logging
import pickle

import pytest
import torch
from huggingface_hub import HfApi, ModelCard, constants
from transformers import AutoConfig, AutoModelForImageClassification

import qvec_hub as qv

from ..hub_server import Fault
from .conftest import named

REPO, DONOR = "alice/toys-int3", "lab/toys-qvec"


@pytest.fixture
def published(hub, vector, receiver, tmp_path):
    """A donor's vector and a receiver in the Hub."""
    done = named(vector, "lab/base").push_to_hub(DONOR)
    receiver.save_pretrained(tmp_path / "float")
    files = {path.name: path.read_bytes() for path in (tmp_path / "float").iterdir()}
    files["config.json"] = json.dumps({**json.loads(files["config.json"]), "_name_or_path": ""}).encode()
    hub.seed("alice/vit", files)
    hub.clear_requests()
    return done.oid


def by_loading(tmp_path):
    return qv.from_pretrained("alice/vit", vector=DONOR, weights="int3", rounding="nearest")


def by_transformers(tmp_path):
    config = qv.QVecConfig(vector=DONOR, weights="int3", rounding="nearest")
    return AutoModelForImageClassification.from_pretrained("alice/vit", quantization_config=config)


def by_hand(tmp_path):
    model = AutoModelForImageClassification.from_pretrained("alice/vit")
    return qv.quantize_(qv.patch_(model, qv.QuantizationVector.from_pretrained(DONOR)), "int3")


def by_reloading(tmp_path):
    by_loading(tmp_path).save_pretrained(tmp_path / "saved")
    return AutoModelForImageClassification.from_pretrained(tmp_path / "saved")


WAYS = [by_loading, by_transformers, by_hand, by_reloading]


@pytest.mark.parametrize("make", WAYS)
def test_a_model_is_published_with_its_card_and_comes_back(hub, published, asked, pixels, tmp_path, make) -> None:
    model = make(tmp_path)
    done = model.push_to_hub(REPO, tags=["toys"])
    assert len(asked("POST", "/commit/")) == 1
    assert done.repo_url.repo_id == REPO
    assert hub.files(REPO).keys() - {".gitattributes"} == {"README.md", "config.json", "model.safetensors"}
    again = AutoModelForImageClassification.from_pretrained(REPO)
    assert torch.equal(again(pixels).logits, model(pixels).logits)
    assert torch.equal(qv.from_pretrained(REPO)(pixels).logits, model(pixels).logits)

    record = json.loads(hub.files(REPO)["config.json"])["quantization_config"]
    assert [(each["repo_id"], each["revision"]) for each in record["vector"]] == [(DONOR, published)]
    assert record["receiver"]["repo_id"] == "alice/vit"
    card = ModelCard.load(REPO)
    card.validate()
    for text in ("import qvec_hub", DONOR, published[:12], "alice/vit", "lab/base", "`int3-channel-absmax`", REPO):
        assert text in card.content
    assert card.data.base_model == "alice/vit"
    assert "toys" in card.data.tags

    again.push_to_hub(REPO)  # changes nothing but the tag
    assert torch.equal(qv.from_pretrained(REPO)(pixels).logits, model(pixels).logits)


@pytest.mark.parametrize("make", WAYS)
def test_copies_and_pickles_can_be_published_too(hub, published, pixels, tmp_path, make) -> None:
    model = make(tmp_path)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(buffer, weights_only=False)]
    for i, other in enumerate(copies):
        assert other.push_to_hub.args[0] is other
        with torch.no_grad():
            other.classifier.bias += i + 1
        other.push_to_hub(f"{REPO}-{i}")
        loaded = qv.from_pretrained(f"{REPO}-{i}")
        assert torch.equal(loaded(pixels).logits, other(pixels).logits)
        assert not torch.equal(loaded(pixels).logits, model(pixels).logits)


def test_options_of_a_push(hub, published, pixels, tmp_path) -> None:
    model = by_loading(tmp_path)
    model.push_to_hub(REPO, private=True, commit_message="First", commit_description="with words", max_shard_size="5KB")
    assert HfApi().model_info(REPO).private
    last = HfApi().list_repo_commits(REPO)[0]
    assert (last.title, last.message) == ("First", "with words")
    assert "model.safetensors.index.json" in hub.files(REPO)
    assert torch.equal(qv.from_pretrained(REPO)(pixels).logits, model(pixels).logits)
    text = hub.files(REPO)["README.md"] + b"\n## Mine\n\nby hand\n"
    hub.seed(REPO, {"README.md": text})
    model.push_to_hub(REPO)
    assert hub.files(REPO).keys() - {".gitattributes"} == {"README.md", "config.json", "model.safetensors"}
    assert b"by hand" in hub.files(REPO)["README.md"]
    model.push_to_hub(REPO, revision="dev")
    assert torch.equal(qv.from_pretrained(REPO, revision="dev")(pixels).logits, model(pixels).logits)
    hub.seed("alice/open", {"a.txt": b"a"})
    done = model.push_to_hub("alice/open", token="hf_bob", create_pr=True)
    assert torch.equal(qv.from_pretrained("alice/open", revision=done.pr_revision)(pixels).logits, model(pixels).logits)
    with pytest.raises(qv.HubError, match="alice/open: is a public repository"):
        model.push_to_hub("alice/open", private=True)
    with pytest.raises(qv.MisfitError, match=f"{DONOR}: holds a quantization vector"):
        model.push_to_hub(DONOR)


def test_without_chunk_storage_and_with_a_lost_answer(hub, published, asked, tmp_path, capfd, monkeypatch) -> None:
    model = by_loading(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    monkeypatch.setattr("qvec_hub.hub.transfer.commit.WAIT_S", 1e6)
    capfd.readouterr()
    hub.inject(Fault("commit_lost"))
    done = model.push_to_hub(REPO)
    assert capfd.readouterr().err == ""
    assert len(asked("POST", "/commit/")) == 1
    assert HfApi().model_info(REPO).sha == done.oid
    monkeypatch.setattr("qvec_hub.hub.transfer.commit.WAIT_S", 0)
    hub.inject(Fault("status", path="/commit/", code=503, times=None))
    before = hub.files(REPO)
    with torch.no_grad():
        model.classifier.bias += 1
    with pytest.raises(qv.HubError, match=f"{REPO}: could not be pushed: the Hub answered 503; try again later"):
        model.push_to_hub(REPO)
    assert hub.files(REPO) == before


def test_tokens_reach_the_download_and_nothing_else(hub, published, vector, tmp_path, caplog) -> None:
    hub.seed("bob/donor", hub.files(DONOR), private=True)
    config = qv.QVecConfig(
        vector="bob/donor", weights="int3", token="hf_bob", cache_dir=tmp_path / "own", rounding="nearest"
    )
    assert "hf_bob" not in repr(config) + str(config) + config.to_json_string() + json.dumps(config.to_dict())
    with caplog.at_level(logging.DEBUG):
        model = AutoModelForImageClassification.from_pretrained("alice/vit", quantization_config=config)
    assert (tmp_path / "own" / "models--bob--donor").is_dir()
    done = model.push_to_hub(REPO)
    model.save_pretrained(tmp_path / "saved")
    written = b"".join([*hub.files(REPO).values(), *(path.read_bytes() for path in (tmp_path / "saved").iterdir())])
    kept = [written, pickle.dumps(model), repr(model).encode(), repr(model.config).encode()]
    for said in [*kept, caplog.text.encode()]:
        assert b"hf_bob" not in said
    for said in kept:
        assert str(tmp_path / "own").encode() not in said
    assert config.hub["token"] == "hf_bob"  # the user's own may serve again
    offline = qv.QVecConfig("bob/donor", "int3", cache_dir=tmp_path / "own", local_files_only=True, rounding="nearest")
    hub.clear_requests()
    AutoModelForImageClassification.from_pretrained("alice/vit", revision=None, quantization_config=offline)
    assert not [record for record in hub.requests if "bob/donor" in record.path]
    with pytest.raises(qv.HubError, match=r"bob/donor: .*no such repository"):
        qv.from_pretrained("alice/vit", vector="bob/donor", weights="int3", rounding="nearest")
    assert done.oid == HfApi().model_info(REPO).sha


def test_every_way_to_name_vectors(hub, published, vector, pixels) -> None:
    second = (2 * named(vector, "lab/base")).push_to_hub(DONOR)
    hub.tag(DONOR, "v1", published)
    named(vector, "lab/base").push_to_hub("alice/many", subfolder="a/b", revision="dev")
    request = (3 * named(vector, "lab/base")).push_to_hub(DONOR, token="hf_bob", create_pr=True)
    inner = HfApi().model_info("alice/many", revision="dev").sha
    for given, expected in [
        (f"{DONOR}@v1", [(DONOR, published, None)]),
        (f"{DONOR}@{published[:9]}", [(DONOR, published, None)]),
        (f"{DONOR}@{published}", [(DONOR, published, None)]),
        (f"{DONOR}@main", [(DONOR, second.oid, None)]),
        (f"{DONOR}@refs/pr/1", [(DONOR, request.oid, None)]),
        ("hf://alice/many@dev/a/b", [("alice/many", inner, "a/b")]),
        ([DONOR, "hf://alice/many@dev/a/b"], [(DONOR, second.oid, None), ("alice/many", inner, "a/b")]),
    ]:
        model = qv.from_pretrained("alice/vit", vector=given, weights="int3", scale=1.0)
        record = model.config.quantization_config.to_dict()["vector"]
        assert [(each["repo_id"], each["revision"], each.get("subfolder")) for each in record] == expected
    by_list = qv.from_pretrained("alice/vit", vector=[f"{DONOR}@v1", f"{DONOR}@main"], weights="int3", scale=2.0)
    by_number = qv.from_pretrained("alice/vit", vector=f"{DONOR}@v1", weights="int3", scale=3.0)
    assert torch.allclose(by_list(pixels).logits, by_number(pixels).logits, atol=1e-3)


@pytest.mark.parametrize("kind", ["status", "cut", "truncate", "flip"])
@pytest.mark.parametrize("path", ["config.json", "/cdn/.*/model.safetensors", "/models/alice/vit"])
def test_receivers_that_cannot_be_fetched(hub, published, pixels, kind: str, path: str) -> None:
    """transformers fetches these; its errors become ours, and nothing random is returned."""
    hub.inject(Fault(kind, path=path, code=503, at=40, times=None))
    model, failure = None, None
    try:
        model = qv.from_pretrained("alice/vit", weights="int3", rounding="nearest")
    except qv.QVecError as error:
        failure = str(error)
    assert failure is None or "alice/vit" in failure
    if model is not None:  # the client has gone on where it was cut
        hub.clear_faults()
        fresh = AutoModelForImageClassification.from_pretrained("alice/vit", cache_dir=hub.store.root / "fresh")
        assert torch.equal(qv.quantize_(fresh, "int3")(pixels).logits, model(pixels).logits)


def test_configs_from_the_hub_keep_the_record(hub, published, tmp_path) -> None:
    by_loading(tmp_path).push_to_hub(REPO)
    saved = AutoConfig.from_pretrained(REPO).quantization_config
    assert saved["quant_method"] == "qvec"
    assert saved["vector"][0]["revision"] == published
    assert "token" not in saved


NONSENSE = [
    b"<html>",
    b"null",
    b"[]",
    b"1",
    b"{}",
    b'{"model_type": 3}',
    b'{"model_type": "vit", "id2label": 3}',
    b"\xff",
]


@pytest.mark.parametrize("path", ["/resolve/.*/config.json", "/models/alice/vit", "/cdn/.*/model"])
def test_receivers_that_are_nonsense(hub, published, nonsense, path: str) -> None:
    """A proxy's page in the place of the Hub's answer, and a repository that holds such a page."""
    for i, body in enumerate(NONSENSE):
        options = {"cache_dir": hub.store.root / str(i)}
        nonsense(path, body)
        try:
            qv.from_pretrained("alice/vit", weights="int3", rounding="nearest", **options)
        except qv.QVecError as error:
            assert str(error).startswith("alice/vit: ")  # noqa: PT017
        nonsense()
        qv.from_pretrained("alice/vit", weights="int3", rounding="nearest", **options)
        hub.seed(f"alice/odd-{i}", {**hub.files("alice/vit"), "config.json": body})
        with pytest.raises(qv.QVecError, match=f"^alice/odd-{i}: "):
            qv.from_pretrained(f"alice/odd-{i}", weights="int3", rounding="nearest", **options)
