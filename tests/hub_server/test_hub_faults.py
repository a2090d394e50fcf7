"""Each fault, as the client sees it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import httpx2
import huggingface_hub as hf
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

from . import Fault

REPO = "alice/model"
WEIGHTS = os.urandom(100_000)
STORAGE = r"^/cdn/.*/w\.safetensors"


@pytest.fixture(autouse=True)
def head(hub):
    return hub.seed(REPO, {"a.txt": b"text", "w.safetensors": WEIGHTS})


def download(name="w.safetensors", **options) -> bytes:
    return Path(hf.hf_hub_download(REPO, name, **options)).read_bytes()


def statuses(hub, part):
    return [(each.method, each.status) for each in hub.requests if part in each.path]


def test_status_for_a_while(hub):
    """The client tries again after 503, and again."""
    hub.inject(Fault("status", path="/preupload/", code=503, times=2))
    hf.upload_file(path_or_fileobj=b"b", path_in_repo="b.txt", repo_id=REPO)
    assert statuses(hub, "/preupload/") == [("POST", 503), ("POST", 503), ("POST", 200)]
    assert hub.files(REPO)["b.txt"] == b"b"


def test_status_for_ever(hub):
    fault = Fault("status", path="/preupload/", code=503, times=None)
    hub.inject(fault)
    with pytest.raises(HfHubHTTPError, match="503"):
        hf.upload_file(path_or_fileobj=b"b", path_in_repo="b.txt", repo_id=REPO)
    assert fault.hits == 6
    hub.clear_faults()
    hf.upload_file(path_or_fileobj=b"b", path_in_repo="b.txt", repo_id=REPO)


def test_status_with_code_and_headers(hub):
    hub.inject(Fault("status", method="HEAD", code=404, error_code="EntryNotFound", headers={"X-Repo-Commit": "c"}))
    with pytest.raises(EntryNotFoundError):
        download("a.txt")
    assert download("a.txt") == b"text"


def test_rate_limit(hub):
    limit = {"ratelimit": '"api";r=0;t=55', "ratelimit-policy": '"fixed window";"api";q=500;w=300'}
    hub.inject(Fault("status", path="^/api/models/", code=429, headers=limit))
    with pytest.raises(HfHubHTTPError, match=r"your 'api' rate limit.\nRetry after 55 seconds"):
        hf.model_info(REPO)


def test_skip_and_times(hub):
    hub.inject(Fault("status", path="whoami", code=418, skip=1, times=2))
    seen = [hf.get_session().get(f"{hub.url}/api/whoami-v2").status_code for _ in range(5)]
    assert seen == [401, 418, 418, 401, 401]


@pytest.fixture
def small_chunks(monkeypatch):
    """The client keeps whole chunks of a broken download only, and they have 10 MB."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)


def test_cut(hub):
    """A real break: the client sees it, and asks again."""
    hub.inject(Fault("cut", path=STORAGE, at=30_000))
    assert download() == WEIGHTS
    assert statuses(hub, "/cdn/") == [("GET", 200), ("GET", 200)]


def test_cut_is_not_a_short_answer(hub):
    hub.inject(Fault("cut", path=STORAGE, at=10))
    with httpx2.Client(follow_redirects=True) as client, pytest.raises(httpx2.RemoteProtocolError) as error:
        client.get(hf.hf_hub_url(REPO, "w.safetensors"))
    assert "received 10 bytes, expected 100000" in str(error.value)


def test_cut_and_resumed(hub, small_chunks):
    """Each attempt goes on where the one before was cut."""
    hub.inject(Fault("cut", path=STORAGE, at=40_000, times=None))
    assert download() == WEIGHTS
    assert statuses(hub, "/cdn/") == [("GET", 200), ("GET", 206), ("GET", 206)]


def test_cut_before_any_body(hub):
    hub.inject(Fault("cut", path=STORAGE, at=0, times=None))
    with pytest.raises(httpx2.RemoteProtocolError):
        download()
    assert len(statuses(hub, "/cdn/")) == 6
    hub.clear_faults()
    assert download() == WEIGHTS


def test_cut_upload(hub):
    hub.inject(Fault("cut_upload", path="^/lfs-upload/", at=1000))
    data = os.urandom(3_000_000)
    hf.upload_file(path_or_fileobj=data, path_in_repo="v.safetensors", repo_id=REPO)
    assert statuses(hub, "/lfs-upload/") == [("PUT", 0), ("PUT", 200)]
    assert hub.files(REPO)["v.safetensors"] == data
    hub.inject(Fault("cut_upload", path="^/lfs-upload/", at=1000, times=None))
    with pytest.raises(RuntimeError, match=r"Error while uploading 'u\.safetensors'"):
        hf.upload_file(path_or_fileobj=data[1:], path_in_repo="u.safetensors", repo_id=REPO)
    assert "u.safetensors" not in hub.files(REPO)
    hub.stop()
    assert list((hub.store.root / "tmp").iterdir()) == []


def test_hang(hub):
    """The answer comes late, or too late for this client, who has left by then."""
    hub.inject(Fault("hang", path="/a.txt", seconds=0.05))
    assert download("a.txt") == b"text"
    hub.inject(Fault("hang", method="HEAD", seconds=30, times=None))
    with pytest.raises(httpx2.ReadTimeout):
        hf.get_hf_file_metadata(hf.hf_hub_url(REPO, "w.safetensors"), timeout=0.05)
    assert statuses(hub, "/w.safetensors") == [("HEAD", 0)]
    hf.upload_file(path_or_fileobj=b"b", path_in_repo="b.txt", repo_id=REPO)


def test_hang_keeps_the_request(hub):
    hub.inject(Fault("hang", path="/preupload/", seconds=0.05), Fault("hang", path="/commit/", seconds=0.05))
    hf.upload_file(path_or_fileobj=b"b", path_in_repo="b.txt", repo_id=REPO)
    assert hub.files(REPO)["b.txt"] == b"b"


def test_slow(hub):
    fault = Fault("slow", path=STORAGE, rate=1_000_000)
    hub.inject(fault)
    assert download() == WEIGHTS
    assert fault.hits == 1


def test_truncated_and_said_so(hub):
    """Only the length on record gives it away, or, when that is wrong too, the hash."""
    hub.inject(Fault("truncate", path=STORAGE, at=500, times=None))
    with pytest.raises(OSError, match="Consistency check failed: file should be of size 100000 but has size 500"):
        download()
    hub.inject(Fault("truncate", method="HEAD", path=r"w\.safetensors", at=500))
    assert download() == WEIGHTS[:500]


def test_flip(hub):
    hub.inject(Fault("flip", path=STORAGE, at=70_001))
    found = download()
    assert [i for i in range(len(WEIGHTS)) if found[i] != WEIGHTS[i]] == [70_001]
    assert found[70_001] ^ WEIGHTS[70_001] == 1


def test_wrong_etag(hub):
    hub.inject(Fault("wrong_etag", method="HEAD", times=None))
    for name in ("a.txt", "w.safetensors"):
        etag = hf.get_hf_file_metadata(hf.hf_hub_url(REPO, name)).etag
        assert set(etag) == {"0"}
        assert len(etag) == (40 if name == "a.txt" else 64)
    hub.clear_faults()
    etag = hf.get_hf_file_metadata(hf.hf_hub_url(REPO, "w.safetensors")).etag
    assert etag == hashlib.sha256(WEIGHTS).hexdigest()


@pytest.mark.parametrize("code", [400, 413, 500])
def test_commit_rejected(hub, head, code):
    """All is uploaded, nothing changes."""
    hub.inject(Fault("commit_rejected", code=code))
    with pytest.raises(HfHubHTTPError) as error:
        hf.upload_file(path_or_fileobj=b"new", path_in_repo="v.safetensors", repo_id=REPO)
    assert error.value.response.status_code == code
    assert statuses(hub, "/lfs-upload/") == [("PUT", 200)]
    assert hf.model_info(REPO).sha == head


def test_commit_lost(hub, head):
    """The commit is there, though its author cannot know."""
    hub.inject(Fault("commit_lost"))
    with pytest.raises(httpx2.RemoteProtocolError, match="disconnected without sending a response"):
        hf.upload_file(path_or_fileobj=b"new", path_in_repo="b.txt", repo_id=REPO)
    assert hub.files(REPO)["b.txt"] == b"new"
    assert [each.commit_id for each in hf.list_repo_commits(REPO)][1:] == [head]
    assert statuses(hub, "/commit/") == [("POST", 0)]
