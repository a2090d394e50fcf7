"""Receivers in the Hub: named as vectors are, offline when asked to be, and errors of the Hub said as they are."""

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.utils._http
import PIL.Image
import pytest
import torch
from datasets import Dataset, Image
from huggingface_hub import CommitOperationAdd, constants
from transformers import AutoModelForImageClassification, ViTImageProcessor

import qvec_hub as qv
from qvec_hub.hub.transfer.client import hub_api
from qvec_hub.hub_search.declared_base import DeclaredBase
from qvec_hub.proxies.model_inputs import proxy_pixels
from qvec_hub.training.start import starting_model

from ..conftest import fine_tuned
from ..hub_server import Fault
from .conftest import patience

REPO, DONOR = "alice/vit", "lab/toys-qvec"


def images() -> Dataset:
    drawn = [PIL.Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    return Dataset.from_dict({"image": drawn, "label": [0, 1]}).cast_column("image", Image())


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def placed(hub, base, receiver, vector_files, tmp_path: Path) -> SimpleNamespace:
    """A receiver at the root of a branch and of a pull request, and in a subfolder of its own; each with other weights.

    `commits` says where each lies, `weights` what it holds.
    """
    weights, files = {}, {}
    for seed, place in enumerate(["main", "sub", "tag", "pr"]):
        model = fine_tuned(base, 0.004, 20 + seed)
        folder = tmp_path / "seed" / place
        model.save_pretrained(folder)
        ViTImageProcessor(size={"height": 16, "width": 16}, image_mean=[0.1 * (seed + 1)] * 3).save_pretrained(folder)
        weights[place], files[place] = model.classifier.weight.detach().clone(), files_of(folder)
    commits = {"tag": hub.seed(REPO, files["tag"])}
    api = hub_api()
    api.create_tag(REPO, tag="v1", revision=commits["tag"])
    pull = api.create_commit(
        REPO,
        [CommitOperationAdd(name, content) for name, content in files["pr"].items()],
        commit_message="Another",
        create_pr=True,
    )
    commits["pr"] = pull.oid
    inside = {f"vits/small/{name}": content for name, content in files["sub"].items()}
    commits["main"] = commits["sub"] = hub.seed(REPO, {**files["main"], **inside})
    hub.seed(DONOR, vector_files)
    return SimpleNamespace(hub=hub, weights=weights, commits=commits, files=files)


SPELLINGS = {
    "main": [REPO, f"hf://{REPO}", f"{REPO}@main", (REPO, {"revision": "main"})],
    "tag": [f"{REPO}@v1", f"hf://{REPO}@v1", (REPO, {"revision": "v1"})],
    "pr": [f"{REPO}@refs/pr/1", (REPO, {"revision": "refs/pr/1"})],
    "sub": [f"hf://{REPO}/vits/small", f"hf://{REPO}@main/vits/small", (REPO, {"subfolder": "vits/small"})],
}


def record_of(place: str, commits: dict[str, str]) -> dict[str, str]:
    inside = {"subfolder": "vits/small"} if place == "sub" else {}
    return {"repo_id": REPO, "revision": commits[place], **inside}


@pytest.mark.parametrize("place", SPELLINGS)
def test_receivers_are_named_as_vectors_are(placed, place: str, tmp_path: Path) -> None:
    for i, spelling in enumerate(SPELLINGS[place]):
        source, where = spelling if isinstance(spelling, tuple) else (spelling, {})
        model = qv.from_pretrained(source, vector=DONOR, weights="int3", rounding="nearest", **where)
        assert torch.equal(model.classifier.weight, placed.weights[place])
        model.save_pretrained(tmp_path / str(i))
        saved = json.loads((tmp_path / str(i) / "config.json").read_text())["quantization_config"]
        assert saved["receiver"] == record_of(place, placed.commits)
        processor = (tmp_path / str(i) / "preprocessor_config.json").read_bytes()
        assert processor == placed.files[place]["preprocessor_config.json"]


@pytest.mark.parametrize("place", SPELLINGS)
def test_and_everywhere_else(placed, place: str, qvec, tmp_path: Path) -> None:
    source = next(each for each in reversed(SPELLINGS[place]) if isinstance(each, str))
    expected = record_of(place, placed.commits)
    vector = qv.QuantizationVector.extract(source, f"{REPO}@v1" if place != "tag" else REPO, base=source)
    assert vector.config.donor.finetuned.to_dict() == expected
    assert vector.config.base_model.to_dict() == expected
    start = starting_model(source, [str(i) for i in range(5)], 0)
    assert torch.equal(start.classifier.weight, placed.weights[place])
    assert torch.equal(DeclaredBase(source, None).load().classifier.weight, placed.weights[place])
    assert qv.evaluate(source, images(), progress=False).n == 2
    facts = json.loads(qvec("info", DONOR, "--receiver", source, "--json").stdout)
    assert facts["receiver"]["fits"] is True
    made = json.loads(qvec("apply", source, "--weights", "int4", "--out", "out", "--json").stdout)
    assert json.loads(Path(made["out"], "config.json").read_text())["quantization_config"]["receiver"] == expected


def test_through_transformers_as_well(placed, tmp_path: Path) -> None:
    config = qv.QVecConfig(DONOR, "int3", rounding="nearest")
    model = AutoModelForImageClassification.from_pretrained(REPO, subfolder="vits/small", quantization_config=config)
    assert model.config.quantization_config.receiver == record_of("sub", placed.commits)
    plain = AutoModelForImageClassification.from_pretrained(REPO)
    assert qv.quantize_(plain, "int3").config.quantization_config["receiver"]["repo_id"] == REPO


def test_a_folder_with_an_at_sign_is_a_folder(placed, receiver, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    receiver.save_pretrained(tmp_path / f"{REPO}@v1")
    assert torch.equal(qv.from_pretrained(f"{REPO}@v1").classifier.weight, receiver.classifier.weight)


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_nothing_is_asked(placed, how: str, monkeypatch, tmp_path: Path, qvec) -> None:
    sources = [each for spellings in SPELLINGS.values() for each in spellings if isinstance(each, str)]
    for source in sources:
        qv.from_pretrained(source, vector=DONOR, weights="int3", rounding="nearest")
    if how == "environment":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = len(placed.hub.requests)
    offline = {"local_files_only": True} if how == "argument" else {}
    for source in sources:
        model = qv.from_pretrained(source, vector=DONOR, weights="int3", rounding="nearest", **offline)
        model.save_pretrained(tmp_path / source.replace("/", "-"))
        proxy_pixels(model, 2)
        qv.evaluate(model, images(), progress=False)
    for missing in ("alice/other", f"{REPO}@v2", f"hf://{REPO}/elsewhere"):
        with pytest.raises(
            qv.HubError, match=r"the Hub was not asked, and the cache does not hold all of it.*go online"
        ):
            qv.from_pretrained(missing, **offline)
    if how == "environment":
        with pytest.raises(qv.HubError, match="not asked"):
            qv.search()
        assert qvec("info", DONOR, "--receiver", REPO).returncode == 0
        assert qvec("apply", REPO, "--vector", DONOR, "--rounding", "nearest", "--out", "out").returncode == 0
    assert len(placed.hub.requests) == before


def answers(code: int, path: str = ".*", error_code: str | None = None, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault("status", path=path, code=code, error_code=error_code, headers=named, times=None)


BROKEN = "the connection to http.* failed or broke"
AROUND = f"/{REPO}/resolve/main/config.json"
FAULTS = {
    "gated": (answers(403, "config.json", "GatedRepo"), "access must be granted first"),
    "gone": (answers(404, "config.json", "RepoNotFound"), "no such repository"),
    "revision": (answers(404, "config.json", "RevisionNotFound"), "no such revision"),
    "token": (answers(401, "config.json"), "does not accept your token"),
    "down": (answers(503), "the Hub answered 503; try again later"),
    "weights down": (answers(500, "safetensors"), "the Hub answered 500; try again later"),
    "reset": (Fault("cut", path="config.json", times=None), BROKEN),
    "weights cut": (Fault("cut", "GET", path="safetensors", at=100, times=None), BROKEN),
    "redirects": (answers(307, "resolve", Location=AROUND), f"{BROKEN} .TooManyRedirects"),
    "hours": (answers(429, Retry_After="18000"), "the Hub asks to wait 5.0 hours .*more than the 60 s"),
    "limit": (answers(429, RateLimit='"api";r=0;t=900'), "the Hub asks to wait 15 minutes .*more than the 60 s"),
    "busy": (answers(503, Retry_After="3600"), "the Hub answered 503, and the Hub asks to wait 60 minutes"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_the_hub_says_is_said(placed, fault: str) -> None:
    rule, said = FAULTS[fault]
    placed.hub.inject(rule)
    with patience(0.5), pytest.raises(qv.HubError, match=f"{REPO}.*{said}") as caught:
        qv.from_pretrained(REPO, weights="int3", rounding="nearest")
    assert "\n" not in str(caught.value)
    placed.hub.clear_faults()
    loaded = qv.from_pretrained(REPO, weights="int3", rounding="nearest")
    assert torch.equal(loaded.classifier.weight, placed.weights["main"])


@pytest.mark.parametrize("fault", ["hours", "limit", "busy"])
def test_a_vector_does_not_wait_for_hours_either(placed, fault: str) -> None:
    rule, said = FAULTS[fault]
    placed.hub.inject(rule)
    with pytest.raises(qv.HubError, match=said):
        qv.QuantizationVector.from_pretrained(DONOR)
    with pytest.raises(qv.HubError, match=said):
        qv.search()


def test_pauses_add_up(placed, monkeypatch, caplog) -> None:
    """Three pauses of 25 seconds are one too many; those that were made were announced."""
    clock = SimpleNamespace(now=0.0)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        clock.now += seconds
        slept.append(seconds)

    monkeypatch.setattr(huggingface_hub.utils._http.time, "sleep", sleep)
    monkeypatch.setattr("qvec_hub.hub.transfer.client.time", SimpleNamespace(monotonic=lambda: clock.now))
    placed.hub.inject(Fault("status", path=f"/{REPO}/resolve", code=429, headers={"Retry-After": "25"}, times=None))
    with pytest.raises(qv.HubError, match="the Hub asks to wait 25 s before the next, more than the 60 s waited here"):
        qv.from_pretrained(REPO)
    assert slept == [26.0, 26.0]
    placed.hub.clear_faults()
    placed.hub.inject(Fault("status", path=f"/{REPO}/resolve", code=429, headers={"Retry-After": "25"}, times=2))
    assert qv.from_pretrained(REPO).num_labels == 5


@pytest.fixture
def renamed(placed):
    """The Hub sends everybody who asks for old/… to the new name, by a path without a host."""
    faults = placed.hub._faults
    app = faults.app

    async def answer(scope, receive, send) -> None:
        path = scope["raw_path"].decode()
        for old, new in {"old/vit": REPO, "old/qvec": DONOR}.items():
            if f"/{old}/" in f"{path}/":
                query = scope["query_string"]
                to = path.replace(old, new).encode() + (b"?" + query if query else b"")
                headers = [(b"location", to), (b"content-length", b"0")]
                await send({"type": "http.response.start", "status": 307, "headers": headers})
                return await send({"type": "http.response.body", "body": b""})
        await app(scope, receive, send)

    faults.app = answer
    yield
    faults.app = app


def test_renamed_repositories(placed, renamed) -> None:
    model = qv.from_pretrained("old/vit", vector="old/qvec", weights="int3", rounding="nearest")
    assert torch.equal(model.classifier.weight, placed.weights["main"])
    assert model.config.quantization_config.receiver["revision"] == placed.commits["main"]
    how = {"weights": "int3", "rounding": "nearest", "local_files_only": True}
    assert qv.from_pretrained("old/vit", vector="old/qvec", **how).num_labels == 5


def error_of(number: int, path: object) -> OSError:
    return OSError(number, os.strerror(number), str(path))


DISK = {
    errno.EROFS: "Read-only file system; choose a cache folder that you may write to, with cache_dir= or HF_HOME",
    errno.EACCES: "Permission denied; choose a cache folder that you may write to",
    errno.ENOSPC: "No space left on device; free some space on that disk, or choose a cache on another",
}


@pytest.mark.parametrize("number", DISK)
@pytest.mark.parametrize("what", ["receiver", "vector"])
def test_a_cache_that_cannot_be_written(placed, what: str, number: int, monkeypatch, tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    def refuse(path, *args, **options):
        raise error_of(number, path)

    monkeypatch.setattr("huggingface_hub.file_download.os.makedirs", refuse)
    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    load = {"receiver": (qv.from_pretrained, REPO), "vector": (qv.QuantizationVector.from_pretrained, DONOR)}
    function, source = load[what]
    with pytest.raises(qv.HubError, match=f"{source}.*{cache}.*{DISK[number]}"):
        function(source, cache_dir=cache)


@pytest.mark.parametrize("what", ["receiver", "vector"])
def test_a_cache_that_is_a_file(placed, what: str, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    load = {"receiver": (qv.from_pretrained, REPO), "vector": (qv.QuantizationVector.from_pretrained, DONOR)}
    function, source = load[what]
    with pytest.raises(qv.HubError, match=f"{source}.*{tmp_path / 'cache'}.*cache_dir="):
        function(source, cache_dir=tmp_path / "cache")


def test_a_full_cache_that_is_read_only_is_enough(placed, monkeypatch) -> None:
    """Everything is there and nothing can be written: an image of a container, or another user's cache."""
    qv.from_pretrained(REPO, vector=DONOR, weights="int3", rounding="nearest")

    def refuse(path, *args, **options):
        raise error_of(errno.EROFS, path)

    monkeypatch.setattr("huggingface_hub.file_download.os.makedirs", refuse)
    model = qv.from_pretrained(REPO, vector=DONOR, weights="int3", rounding="nearest")
    assert torch.equal(model.classifier.weight, placed.weights["main"])
