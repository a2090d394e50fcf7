"""The fixture: transformers and this package talk to the hub, and afterwards to what they talked to before."""

from __future__ import annotations

import os

import huggingface_hub as hf
import pytest
import torch
from datasets import config as datasets_config
from huggingface_hub import constants
from transformers import AutoModelForImageClassification

import qvec_hub as qv

from .fixtures import point_at


def test_transformers(hub, base):
    base.push_to_hub("alice/vit")
    assert {"config.json", "model.safetensors"} <= set(hub.files("alice/vit"))
    info = hf.model_info("alice/vit")
    assert {"transformers", "vit", "safetensors"} <= set(info.tags)
    assert info.safetensors.total == sum(parameter.numel() for parameter in base.parameters())
    again = AutoModelForImageClassification.from_pretrained("alice/vit")
    for name, tensor in base.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    assert hf.model_info("alice/vit").downloads == 1


def test_vectors(hub, vector_folder, vector):
    commit = hub.seed("alice/v", {path.name: path.read_bytes() for path in vector_folder.iterdir()})
    loaded = qv.QuantizationVector.from_pretrained("alice/v")
    assert loaded.config.tensors.sha256 == qv.QuantizationVector.from_pretrained(vector_folder).config.tensors.sha256
    assert hf.model_info("alice/v").downloads == 1
    hub.stop()
    offline = qv.QuantizationVector.from_pretrained("alice/v", revision=commit)
    assert torch.equal(offline[vector.names()[0]], vector[vector.names()[0]])


def test_everything_is_put_back(tmp_path):
    def settings():
        owners = (constants, datasets_config, hf.hf_api.api, hf.utils._http, hf.file_download)
        return [dict(vars(owner)) for owner in owners], dict(os.environ)

    before = settings()
    with pytest.MonkeyPatch.context() as patch:
        point_at("http://127.0.0.1:9", "hf_x", tmp_path, patch)
        assert hf.hf_hub_url("a/b", "c") == "http://127.0.0.1:9/a/b/resolve/main/c"
        assert hf.get_token() == "hf_x"
        assert settings() != before
    assert settings() == before
