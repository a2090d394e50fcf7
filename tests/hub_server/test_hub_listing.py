"""Listing models through the client: tags, filters, order, properties, pages."""

from __future__ import annotations

import json
import struct

import huggingface_hub as hf
import pytest
import yaml
from huggingface_hub import EvalResultEntry, ModelCardData, eval_result_entries_to_yaml
from huggingface_hub.errors import BadRequestError
from huggingface_hub.hf_api import ExpandDatasetProperty_T, ExpandModelProperty_T

from . import HubServer

BASE = "google/vit-base-patch16-224-in21k"


def card(**values) -> bytes:
    return f"---\n{yaml.safe_dump(values)}---\n# A model\nSee https://arxiv.org/abs/2604.03420.\n".encode()


def vector(base=BASE, **values) -> dict[str, bytes]:
    values = {"library_name": "qvec_hub", "tags": ["qvec"], "base_model": base, "license": "mit", **values}
    return {"README.md": card(**values), "qvec_config.json": b"{}", "qvec.safetensors": b"weights"}


def ids(**options) -> list[str]:
    return [each.id for each in hf.list_models(**options)]


def test_tags_come_from_the_card_and_the_files(hub):
    card_data = {"base_model_relation": "adapter", "datasets": ["tanganke/eurosat"], "language": "en"}
    hub.seed("alice/v", vector(pipeline_tag="image-classification", **card_data))
    assert hf.model_info("alice/v").tags == [
        "qvec_hub",
        "image-classification",
        "safetensors",
        "qvec",
        "en",
        "license:mit",
        "dataset:tanganke/eurosat",
        f"base_model:{BASE}",
        f"base_model:adapter:{BASE}",
        "arxiv:2604.03420",
        "region:us",
    ]
    hub.seed("alice/vit", {"config.json": json.dumps({"model_type": "vit", "architectures": ["ViTModel"]}).encode()})
    info = hf.model_info("alice/vit")
    assert (info.tags, info.library_name) == (["transformers", "vit", "region:us"], "transformers")
    assert info.config == {"architectures": ["ViTModel"], "model_type": "vit"}
    hub.seed("alice/both", vector(base=[BASE, "a/b"]))
    assert {"base_model:merge:a/b", f"base_model:merge:{BASE}"} <= set(hf.model_info("alice/both").tags)


def test_filters_are_all_needed(hub):
    hub.seed("alice/v", vector())
    hub.seed("bob/v", vector(base="other/base"))
    hub.seed("bob/qvec", {"README.md": card(tags=["vision"])})
    assert sorted(ids(filter="qvec")) == ["alice/v", "bob/v"]
    assert ids(filter=["qvec", f"base_model:{BASE}"]) == ["alice/v"]
    assert ids(filter=["qvec", f"base_model:quantized:{BASE}"]) == []
    assert sorted(ids(author="bob")) == ["bob/qvec", "bob/v"]
    assert ids(search="QVEC") == ["bob/qvec"]
    assert ids(search="bob v", filter="qvec") == ["bob/v"]
    assert ids(filter="dataset:x") == ids(trained_dataset="x") == ids(pipeline_tag="image-classification") == []


def test_order(hub):
    for name, downloads, likes in (("a", 1, 5), ("b", 3, 5), ("c", 2, 9)):
        hub.seed(f"alice/{name}", vector(), downloads=downloads, likes=likes)
    hub.seed("alice/a", {"more.txt": b"more"})
    assert ids(sort="downloads") == ["alice/b", "alice/c", "alice/a"]
    assert ids(sort="likes") == ["alice/c", "alice/a", "alice/b"]
    assert ids(sort="last_modified") == ["alice/a", "alice/c", "alice/b"]
    assert ids(sort="created_at") == ["alice/c", "alice/b", "alice/a"]
    assert ids(sort="downloads", limit=1) == ["alice/b"]
    upward = hf.get_session().get(f"{hub.url}/api/models?sort=downloads&direction=1").json()
    assert [each["id"] for each in upward] == ["alice/a", "alice/c", "alice/b"]


def test_pages(tmp_path, hub):
    with HubServer(tmp_path / "paged", page_size=3) as paged:
        names = [f"alice/m{i:02d}" for i in range(10)]
        for number, name in enumerate(names):
            paged.seed(name, vector(), downloads=number // 2)
        api = hf.HfApi(endpoint=paged.url, token=False)
        found = [each.id for each in api.list_models(filter="qvec", sort="downloads", expand=["sha"])]
        assert sorted(found) == names
        assert found[:4] == ["alice/m08", "alice/m09", "alice/m06", "alice/m07"]
        assert len(paged.requests) == 4
        paged.clear_requests()
        assert len(list(api.list_models(limit=5))) == 5
        assert len(paged.requests) == 2


def test_a_repository_added_between_pages_moves_nothing(tmp_path, hub):
    with HubServer(tmp_path / "paged", page_size=2) as paged:
        for number in range(4):
            paged.seed(f"alice/m{number}", vector(), downloads=number)
        found = hf.HfApi(endpoint=paged.url, token=False).list_models(sort="downloads")
        first = [next(found).id, next(found).id]
        paged.seed("alice/popular", vector(), downloads=100)
        assert first + [each.id for each in found] == ["alice/m3", "alice/m2", "alice/m1", "alice/m0"]


def test_properties(hub):
    header = json.dumps({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    entries = eval_result_entries_to_yaml([EvalResultEntry("tanganke/eurosat", "test", 0.9)])
    files = {
        **vector(),
        "qvec.safetensors": struct.pack("<Q", len(header)) + header + bytes(24),
        ".eval_results/eurosat.yaml": yaml.safe_dump(entries).encode(),
        ".eval_results/broken.yaml": b"[{value: 1}]",
    }
    sha = hub.seed("alice/v", files, downloads=7, likes=2)
    wanted = ["author", "cardData", "createdAt", "downloads", "downloadsAllTime", "gated", "lastModified", "likes"]
    wanted += ["library_name", "private", "sha", "siblings", "tags", "usedStorage", "safetensors", "evalResults"]
    wanted += ["baseModels", "model-index", "pipeline_tag", "config"]
    for info in (hf.model_info("alice/v", expand=wanted), *hf.list_models(expand=wanted)):
        assert (info.author, info.sha, info.downloads, info.downloads_all_time, info.likes) == ("alice", sha, 7, 7, 2)
        assert (info.gated, info.private, info.library_name, info.base_models) == (False, False, "qvec_hub", [BASE])
        assert info.card_data.license == "mit"
        assert info.created_at <= info.last_modified
        assert {each.rfilename for each in info.siblings} == files.keys()
        assert info.used_storage == sum(len(data) for data in files.values())
        assert (info.safetensors.parameters, info.safetensors.total) == ({"F32": 6}, 6)
        assert [(each.dataset_id, each.value) for each in info.eval_results] == [("tanganke/eurosat", 0.9)]
    assert hf.model_info("alice/v", expand=["sha"]).tags is None
    short = next(hf.list_models())
    assert (short.sha, short.siblings, short.card_data) == (None, None, None)
    assert next(hf.list_models(full=True)).sha == sha
    assert next(hf.list_models(cardData=True)).card_data.base_model == BASE


@pytest.mark.parametrize("name", ExpandModelProperty_T.__args__)
def test_every_property_can_be_asked_for(hub, name):
    hub.seed("alice/v", vector())
    assert hf.model_info("alice/v", expand=[name]).id == next(hf.list_models(expand=[name])).id == "alice/v"


def test_unknown_questions(hub):
    for query in ("expand=nothing", "sort=name", "direction=up", "limit=many", "cursor=x", "num_parameters=min:1"):
        hub.seed("alice/v", vector())
        with pytest.raises(BadRequestError):
            hf.utils.hf_raise_for_status(hf.get_session().get(f"{hub.url}/api/models?{query}"))


def test_datasets(hub):
    files = {"README.md": card(task_categories=["image-classification"], tags=["x"]), "d.parquet": b"rows"}
    hub.seed("alice/d", files, repo_type="dataset")
    hub.seed("alice/m", vector())
    assert [each.id for each in hf.list_datasets(filter="task_categories:image-classification")] == ["alice/d"]
    assert [each.id for each in hf.list_datasets()] == ["alice/d"]
    info = hf.dataset_info("alice/d")
    assert info.tags == ["task_categories:image-classification", "x", "format:parquet", "region:us"]
    for name in ExpandDatasetProperty_T.__args__:
        assert hf.dataset_info("alice/d", expand=[name]).id == "alice/d"


def test_info_at_a_revision(hub):
    first = hub.seed("alice/v", vector())
    hub.seed("alice/v", {"README.md": card(license="apache-2.0")})
    assert "license:apache-2.0" in hf.model_info("alice/v").tags
    assert "license:mit" in hf.model_info("alice/v", revision=first).tags
    assert hf.ModelCard.load("alice/v").data == ModelCardData(license="apache-2.0")
