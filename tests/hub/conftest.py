"""What the tests of the Hub share: no waiting between attempts, vectors of two bases, a look at the requests."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from huggingface_hub import constants
from transformers import ViTForImageClassification

import qvec_hub as qv
from qvec_hub.artifact.config import Revision

from ..conftest import fine_tuned, tiny_config


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch) -> None:
    monkeypatch.setattr("qvec_hub.hub.transfer.commit.WAIT_S", 0)


def named(vector: qv.QuantizationVector, base: str | None) -> qv.QuantizationVector:
    """The same vector, made on a base of this name."""
    config = replace(vector.config, base_model=Revision(base))
    return qv.QuantizationVector(config, {name: vector[name] for name in vector}, vector.lineage)


@pytest.fixture(scope="session")
def unrelated() -> qv.QuantizationVector:
    """A vector of the same architecture on another base."""
    torch.manual_seed(77)
    base = ViTForImageClassification(tiny_config())
    for parameter in base.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return qv.QuantizationVector.extract(fine_tuned(base, 0.003, 5), fine_tuned(base, 0.006, 6), base, grid="int3")


@pytest.fixture(scope="session")
def vector_files(vector, tmp_path_factory) -> dict[str, bytes]:
    """The files of the vector as a repository holds them."""
    folder = tmp_path_factory.mktemp("seed") / "vector"
    vector.save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def asked(hub):
    """Paths of the requests of a method that the hub has seen, those with `part` in them."""

    def find(method: str, part: str) -> list[str]:
        return [record.path for record in hub.requests if record.method == method and part in record.path]

    return find


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """How long the client, and we, wait for an answer."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
            patch.setattr(constants, name, seconds)
        patch.setattr("huggingface_hub.file_download._ETAG_RETRY_TIMEOUT", seconds)
        patch.setattr("qvec_hub.hub.transfer.client.PATIENCE_S", seconds)
        yield


def same(one, other) -> bool:
    return set(one.names()) == set(other.names()) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def nonsense(hub):
    """Has the hub answer requests for a path with status 200 and a body of our choice, until `nonsense()`."""
    faults = hub._faults
    app = faults.app

    def say(path: str = "", body: bytes = b"") -> None:
        async def answer(scope, receive, send) -> None:
            if not path or not re.search(path, scope["path"]):
                return await app(scope, receive, send)
            while (await receive()).get("more_body"):
                pass
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        faults.app = answer

    yield say
    faults.app = app
