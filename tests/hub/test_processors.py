"""A receiver's image processor is found as the receiver was: with its token, cache, revision, subfolder, or offline."""

import copy
import json
import pickle
import time

import numpy as np
import pytest
import torch
from datasets import Dataset
from huggingface_hub import constants
from PIL import Image
from transformers import AutoModelForImageClassification

import qvec_hub as qv
from qvec_hub.backbone.processor import processor_of
from qvec_hub.evaluation.runner import evaluate
from qvec_hub.proxies.draw import proxy_images
from qvec_hub.proxies.model_inputs import proxy_pixels

REPO = "alice/secret"
PROCESSOR = {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}, "do_normalize": False}
EXPECTED = torch.tensor(proxy_images(3, 16)).permute(0, 3, 1, 2) / 255


@pytest.fixture
def files(receiver_folder) -> dict[str, bytes]:
    (receiver_folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return {path.name: path.read_bytes() for path in receiver_folder.iterdir()}


def images() -> Dataset:
    shown = [Image.fromarray(pixels) for pixels in proxy_images(4, 20)]
    return Dataset.from_dict({"image": shown, "label": [0, 1, 2, 3]})


def load_plain(source, **hub):
    return qv.from_pretrained(source, **hub)


def load_watched(source, **hub):
    return qv.from_pretrained(source, weights="int4", rounding="gptq", **hub)


def load_by_transformers(source, **hub):
    config = qv.QVecConfig(weights="int4", rounding="gptq", **hub)
    return AutoModelForImageClassification.from_pretrained(source, quantization_config=config, **hub)


LOADS = pytest.mark.parametrize("load", [load_plain, load_watched, load_by_transformers])


def check(model) -> None:
    assert torch.allclose(proxy_pixels(model, 3), EXPECTED, atol=1e-6)
    assert evaluate(model, images(), progress=False).n == 4


@LOADS
def test_a_private_receiver_in_a_cache_of_its_own(
    load, hub, files, quick_rounding, tmp_path, monkeypatch, recwarn
) -> None:
    hub.seed(REPO, files, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    model = load(REPO, token="hf_alice", cache_dir=str(tmp_path / "own"))
    assert not [warning for warning in recwarn if "proxy images" in str(warning.message)]
    hub.clear_requests()
    for each in (model, copy.deepcopy(model)):
        check(each)
    assert hub.requests == []
    if load is load_plain:
        assert b"hf_alice" not in pickle.dumps(model)
        check(pickle.loads(pickle.dumps(model)))
    assert "hf_alice" not in model.config.to_json_string()
    assert b"hf_alice" not in pickle.dumps({k: v for k, v in vars(model).items() if k != "push_to_hub"}, protocol=4)


@LOADS
def test_from_the_cache_alone(load, hub, files, quick_rounding) -> None:
    hub.seed(REPO, files)
    load(REPO)
    hub.clear_requests()
    check(load(REPO, local_files_only=True))
    assert hub.requests == []


@pytest.mark.parametrize("how", ["offline", "local", "gone"])
def test_without_the_hub_nobody_waits_for_a_processor(how, hub, files, quick_rounding, monkeypatch) -> None:
    del files["preprocessor_config.json"]
    commit = hub.seed(REPO, files)
    AutoModelForImageClassification.from_pretrained(REPO, revision=commit)  # which asks for no processor
    if how == "gone":
        hub.stop()
    if how == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.clear_requests()
    start = time.perf_counter()
    local = {"local_files_only": True} if how == "local" else {}
    model = qv.from_pretrained(REPO, revision=commit, **local)
    with pytest.warns(UserWarning, match=f"normalized to values from -1 to 1.*{REPO}.*expected an image processor"):
        proxy_pixels(model, 3)
    with pytest.raises(qv.QVecError, match=r"expected an image processor .*pass processor="):
        evaluate(model, images())
    assert time.perf_counter() - start < 10
    assert how == "gone" or hub.requests == []


def test_a_hub_that_is_down_is_not_a_missing_file(hub, files) -> None:
    del files["preprocessor_config.json"]
    hub.seed(REPO, files)
    model = AutoModelForImageClassification.from_pretrained(REPO)
    hub.stop()
    with pytest.raises(qv.QVecError, match=f"{REPO}.*found none in the cache and no answer from http"):
        evaluate(model, images())


def test_the_processor_is_of_the_models_commit(hub, files) -> None:
    first = hub.seed(REPO, files)
    hub.seed(REPO, {"preprocessor_config.json": json.dumps({**PROCESSOR, "do_normalize": True}).encode()})
    check(qv.from_pretrained(REPO, revision=first))
    check(AutoModelForImageClassification.from_pretrained(REPO, revision=first))
    later = processor_of(qv.from_pretrained(REPO))
    assert later.do_normalize is True


@pytest.mark.parametrize("nested", [False, True])
def test_a_subfolder_has_a_processor_of_its_own(nested, hub, files, quick_rounding, tmp_path, receiver_folder) -> None:
    wrong = json.dumps({**PROCESSOR, "do_normalize": True}).encode()
    own = {f"a/b/{name}": data for name, data in files.items() if name != "preprocessor_config.json"}
    name, data = (
        ("processor_config.json", {"image_processor": PROCESSOR}) if nested else ("preprocessor_config.json", PROCESSOR)
    )
    own[f"a/b/{name}"] = json.dumps(data).encode()
    hub.seed(REPO, {**own, "preprocessor_config.json": wrong, "config.json": files["config.json"]})
    check(load_by_transformers_in(REPO, "a/b"))
    for path, data in {**own, "preprocessor_config.json": wrong}.items():
        (tmp_path / "local" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "local" / path).write_bytes(data)
    check(load_by_transformers_in(str(tmp_path / "local"), "a/b"))


def load_by_transformers_in(source, subfolder):
    config = qv.QVecConfig(weights="int4", rounding="gptq")
    return AutoModelForImageClassification.from_pretrained(source, quantization_config=config, subfolder=subfolder)


def test_a_folder_that_moved_is_not_taken_for_a_repository(hub, files, tmp_path, monkeypatch, receiver_folder) -> None:
    hub.seed("models/vit", files)
    (tmp_path / "models").mkdir()
    receiver_folder.rename(tmp_path / "models" / "vit")
    monkeypatch.chdir(tmp_path)
    plain, ours = AutoModelForImageClassification.from_pretrained("models/vit"), qv.from_pretrained("models/vit")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    hub.clear_requests()
    with pytest.raises(qv.QVecError, match=r"'models/vit': expected an image processor where it was loaded from"):
        evaluate(plain, images())
    check(ours)
    assert hub.requests == []


def test_counts_are_those_of_the_real_processor(hub, files) -> None:
    hub.seed(REPO, files, private=True)
    model = qv.from_pretrained(REPO, token="hf_alice")
    pixels = np.stack([np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR)) for image in images()["image"]])
    with torch.no_grad():
        logits = model(torch.tensor(pixels).permute(0, 3, 1, 2) / 255).logits
    assert evaluate(model, images(), progress=False).correct == int((logits.argmax(1) == torch.arange(4)).sum())
