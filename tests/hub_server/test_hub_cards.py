"""Validation of a card's metadata, as the client asks for it."""

from __future__ import annotations

import huggingface_hub as hf
import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.errors import BadRequestError

GOOD = {
    "license": "other",
    "license_name": "research",
    "license_link": "https://example.org",
    "library_name": "qvec_hub",
    "tags": ["qvec"],
    "datasets": ["tanganke/eurosat"],
    "metrics": "accuracy",
    "base_model": "google/vit-base-patch16-224-in21k",
    "base_model_relation": "adapter",
    "pipeline_tag": "image-classification",
    "qvec": {"grid": {"bits": 3}},
    "model-index": [
        {
            "name": "v",
            "results": [
                {
                    "task": {"type": "image-classification"},
                    "dataset": {"type": "tanganke/eurosat", "name": "EuroSAT"},
                    "metrics": [{"type": "accuracy", "value": 0.9}],
                }
            ],
        }
    ],
}


def readme(values) -> str:
    return f"---\n{values if isinstance(values, str) else yaml.safe_dump(values)}\n---\n\n# A model\n"


def index(**changes):
    model = GOOD["model-index"][0]
    return {"model-index": [{**model, "results": [{**model["results"][0], **changes}]}]}


@pytest.mark.parametrize(
    "values", [GOOD, {"license": "mit"}, {"base_model": ["a/b", "gpt2"]}, {"date": "2026-11-20"}, {"tags": []}]
)
def test_good(hub, values):
    ModelCard(readme(values)).validate()
    hf.create_repo("alice/v")
    hf.upload_file(path_or_fileobj=readme(values).encode(), path_in_repo="README.md", repo_id="alice/v")
    assert hub.files("alice/v")["README.md"] == readme(values).encode()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("license: [mit", "Invalid YAML"),
        ("- a\n- b", "must be a mapping"),
        ({"license": "my-own"}, '"license" must be one of'),
        ({"license": 2}, '"license" must be one of'),
        ({"tags": [1]}, '"tags" must be a string or a list of strings'),
        ({"datasets": {"a": 1}}, '"datasets" must be'),
        ({"metrics": [None]}, '"metrics" must be'),
        ({"base_model": "/home/me/model"}, '"base_model" with value'),
        ({"base_model": ["a/b", "a/b/c"]}, '"base_model" with value'),
        ({"base_model_relation": "vector"}, '"base_model_relation" must be one of'),
        ({"pipeline_tag": "vision"}, '"pipeline_tag" must be one of'),
        ({"library_name": ["a"]}, '"library_name" must be a string'),
        ({"model-index": {}}, '"model-index" must be a list'),
        ({"model-index": [{"results": []}]}, r'"model-index\[0\].name" is required'),
        ({"model-index": [{"name": "x"}]}, r"results\" is required"),
        (index(task={}), r"results\[0\].task.type\" is required"),
        (index(dataset={"type": "a/b"}), "dataset.name"),
        (index(metrics=[]), "metrics"),
        (index(metrics=[{"type": "accuracy", "value": None}]), r"metrics\[0\].value\" is required"),
    ],
)
def test_bad(hub, values, message):
    text = readme(values)
    request = {"content": text, "repoType": "model"}
    response = hf.get_session().post(f"{hub.url}/api/validate-yaml", json=request)
    assert response.status_code == 400
    assert response.json()["warnings"] == []
    # The client before uploading, and the hub when the client did not ask.
    hf.create_repo("alice/v")
    with pytest.raises(ValueError, match=rf"Invalid metadata in README\.md\.\n- (.|\n)*{message}"):
        hf.upload_file(path_or_fileobj=text.encode(), path_in_repo="README.md", repo_id="alice/v")
    assert list(hub.files("alice/v")) == [".gitattributes"]


def test_a_bad_card_is_refused_in_the_commit_too(hub, monkeypatch):
    hf.create_repo("alice/v")
    monkeypatch.setattr(hf.HfApi, "_validate_yaml", lambda *arguments, **options: None)
    with pytest.raises(BadRequestError, match=r"Invalid metadata in README\.md") as error:
        hf.upload_file(path_or_fileobj=readme({"license": "x"}).encode(), path_in_repo="README.md", repo_id="alice/v")
    assert '"license" must be one of' in str(error.value)


def test_no_metadata_warns(hub):
    hf.create_repo("alice/v")
    with pytest.warns(UserWarning, match="empty or missing YAML metadata"):
        hf.upload_file(path_or_fileobj=b"# A model\n", path_in_repo="README.md", repo_id="alice/v")


def test_push_of_a_card(hub):
    hf.create_repo("alice/v")
    result = EvalResult("image-classification", "a/b", "B", "accuracy", 0.5)
    data = ModelCardData(model_name="v", eval_results=[result], license="mit", base_model_relation="quantized")
    ModelCard(f"---\n{data.to_yaml()}\n---\n# v\n").push_to_hub("alice/v")
    card = ModelCard.load("alice/v")
    assert card.data.eval_results[0].metric_value == 0.5
    with pytest.raises(ValueError, match="license"):
        ModelCard(readme({"license": "x"})).push_to_hub("alice/v")
