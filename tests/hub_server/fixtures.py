"""The fixture `hub`: a hub of its own for each test, with this process's Hugging Face libraries pointed at it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import datasets.config
import huggingface_hub.file_download
import huggingface_hub.hf_api
import huggingface_hub.utils._http
import pytest
import transformers.utils.hub
from huggingface_hub import HfFileSystem, close_session, constants

from .server import HubServer


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with the users alice (token hf_alice, of the organisation lab) and bob (hf_bob); alice is logged in."""
    with HubServer(tmp_path / "hub") as server:
        server.add_user("alice", orgs=("lab",))
        server.add_user("bob")
        point_at(server.url, "hf_alice", tmp_path / "hub-cache", monkeypatch)
        _forget()
        yield server
        # While the server still runs, so that no connection ends in the middle.
        _forget()


def point_at(url: str, token: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have huggingface_hub, transformers and datasets use the hub at `url`, here and in child processes.

    They read their settings when they are imported, into constants and into one HfApi that the module functions use.
    """
    here: dict[object, dict[str, object]] = {
        constants: {
            "ENDPOINT": url,
            "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_URL_HOSTS": frozenset({*constants.HF_URL_HOSTS, "127.0.0.1"}),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(cache),
            "HF_TOKEN_PATH": str(cache / "token"),
            "HF_HUB_DISABLE_TELEMETRY": True,
            "HF_HUB_DISABLE_XET": True,
        },
        huggingface_hub.hf_api.api: {"endpoint": url},
        transformers.utils.hub: {"_hf_api": None},  # made when first used, for the hub of that moment
        datasets.config: {
            "HF_ENDPOINT": url,
            "HUB_DATASETS_URL": url + "/datasets/{repo_id}/resolve/{revision}/{path}",
            "HF_HUB_OFFLINE": False,
            "HF_DATASETS_OFFLINE": False,
            "HF_DATASETS_CACHE": cache / "datasets",
        },
        # The client waits seconds before it tries again. Only its own look at the clock is replaced.
        huggingface_hub.utils._http: {"time": _impatient()},
        huggingface_hub.file_download: {"time": _impatient()},
    }
    for owner, values in here.items():
        for name, value in values.items():
            monkeypatch.setattr(owner, name, value)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    environment = {
        "HF_ENDPOINT": url,
        "HF_TOKEN": token,
        "HF_HUB_CACHE": str(cache),
        "HF_DATASETS_CACHE": str(cache / "datasets"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    for name, text in environment.items():
        monkeypatch.setenv(name, text)


def _impatient() -> SimpleNamespace:
    return SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})


def _forget() -> None:
    """Close the client's connections, and drop the file systems that remember another hub's listings."""
    close_session()
    HfFileSystem.clear_instance_cache()
