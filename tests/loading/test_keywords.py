"""What transformers' ``from_pretrained`` takes beside a checkpoint's name: each works, or is refused by name."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageClassification, ViTForImageClassification

import qvec_hub as qv
from tests.conftest import tiny_config

NAMES = {i: f"class {i}" for i in range(5)}

# What is passed, and what of the model must then be as transformers makes it.
WORKS = [
    ({"dtype": "bfloat16"}, lambda m: m.classifier.weight.dtype),
    ({"dtype": torch.float16}, lambda m: m.classifier.weight.dtype),
    ({"torch_dtype": torch.float16}, lambda m: m.classifier.weight.dtype),
    ({"device_map": "cpu"}, lambda m: m.device),
    ({"device_map": {"": "cpu"}}, lambda m: m.device),
    ({"device_map": torch.device("cpu")}, lambda m: m.device),
    ({"attn_implementation": "eager"}, lambda m: m.config._attn_implementation),
    ({"num_labels": 5}, lambda m: m.num_labels),
    ({"id2label": NAMES}, lambda m: m.config.id2label),
    ({"label2id": {name: i for i, name in NAMES.items()}}, lambda m: m.config.label2id),
    ({"problem_type": "multi_label_classification"}, lambda m: m.config.problem_type),
    ({"hidden_dropout_prob": 0.25}, lambda m: m.vit.embeddings.dropout.p),
    ({"output_hidden_states": True}, lambda m: m.config.output_hidden_states),
    ({"config": tiny_config(layer_norm_eps=0.125)}, lambda m: m.vit.layernorm.eps),
    ({"variant": "fp16"}, lambda m: m.classifier.weight.float().sum()),
    ({"use_safetensors": True}, lambda m: m.num_labels),
    ({"trust_remote_code": False}, lambda m: m.num_labels),
    ({"ignore_mismatched_sizes": False}, lambda m: m.num_labels),
    ({"low_cpu_mem_usage": True}, lambda m: m.num_labels),
    ({"local_files_only": True, "force_download": False, "token": None}, lambda m: m.num_labels),
]


@pytest.mark.parametrize(("given", "seen"), WORKS, ids=lambda value: "-".join(value) if isinstance(value, dict) else "")
@pytest.mark.parametrize("weights", [None, "int4"])
def test_works_as_in_transformers(given: dict, seen, weights: str | None, receiver, receiver_folder: Path) -> None:
    half = ViTForImageClassification(tiny_config()).half()
    half.save_pretrained(receiver_folder, variant="fp16")
    asked = given if "torch_dtype" in given else {"dtype": torch.float32, **given}
    theirs = AutoModelForImageClassification.from_pretrained(receiver_folder, **asked)
    ours = qv.from_pretrained(receiver_folder, weights=weights, **asked)
    assert seen(ours) == seen(theirs)


REFUSED = [
    ({"num_labels": 7}, "num_labels=7.*has 5 classes.*train it first"),
    ({"id2label": {0: "a"}}, "id2label=.*has 5 classes"),
    ({"ignore_mismatched_sizes": True}, "ignore_mismatched_sizes=True.*train it first"),
    ({"hidden_size": 64}, "hidden_size=64"),
    ({"state_dict": {}}, "state_dict=.*quantize_"),
    ({"quantization_config": qv.QVecConfig(None, "int3")}, "quantization_config=.*weights="),
    ({"use_safetensors": False}, "use_safetensors=False.*only safetensors"),
    ({"trust_remote_code": True}, "trust_remote_code=True.*never run"),
    ({"code_revision": "main"}, "code_revision="),
    ({"output_loading_info": True}, "output_loading_info=True"),
    ({"weights_only": False}, "weights_only=False"),
    ({"gguf_file": "model.gguf"}, "gguf_file=.*float checkpoint"),
    ({"adapter_kwargs": {"revision": "x"}}, "adapter_kwargs=.*merge"),
    ({"key_mapping": {"a": "b"}}, "key_mapping="),
    ({"tp_plan": "auto"}, "tp_plan='auto'.*device_map="),
    ({"offload_folder": "x"}, "offload_folder="),
    ({"proxies": {"https": "x"}}, "proxies=.*HTTPS_PROXY"),
    ({"mirror": "x"}, "mirror=.*HF_ENDPOINT"),
    ({"use_auth_token": "x"}, "use_auth_token=.*token="),
    ({"generation_config": {}}, "generation_config="),
    ({"config": "folder"}, "config='folder'.*config object"),
    ({"dtype": "int3"}, "dtype='int3'.*weights="),
    ({"dtype": torch.int8}, "dtype=torch.int8"),
    ({"dtype": 5}, "dtype=5"),
    ({"dtype": torch.float16, "torch_dtype": torch.bfloat16}, "torch_dtype=.*give one"),
    ({"device_map": "nonsense"}, "device_map='nonsense'.*try 'cpu'"),
    ({"device_map": "disk"}, "'disk'.*place it on 'cpu'"),
    ({"device_map": {"vit": "cpu", "classifier": "disk"}}, "'disk'.*place it on 'cpu'"),
    ({"device_map": {"vit": "cpu", "classifier": "meta"}}, "device_map='meta'"),
    ({"device_map": ["cpu"]}, "device_map="),
    ({"device_map": "auto", "max_memory": "much"}, "not a loadable image classifier"),
    ({"attn_implementation": "nonsense"}, 'attn_implementation="nonsense"'),
    ({"variant": "../x"}, "variant='../x'"),
    ({"variant": "fp8"}, "model.fp8.safetensors is missing"),
    ({"revision": 5}, "revision=5"),
    ({"subfolder": "nowhere"}, "no config.json there"),
    ({"force_download": True, "local_files_only": True}, "force_download=True.*contradicts"),
    ({"weigths": "int3"}, "unknown argument 'weigths'; did you mean weights="),
    ({"vectors": "a/b"}, "unknown argument 'vectors'; did you mean vector="),
    ({"_private": 1}, "unknown argument '_private'"),
]


@pytest.mark.parametrize(("given", "said"), REFUSED, ids=[next(iter(given)) for given, _ in REFUSED])
def test_refused_by_name(given: dict, said: str, receiver_folder: Path) -> None:
    with pytest.raises(qv.QVecError, match=said):
        qv.from_pretrained(receiver_folder, weights="int4", **given)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here the device exists")
def test_a_device_that_is_not_there(receiver_folder: Path) -> None:
    with pytest.raises(qv.QVecError, match=r"device_map='cuda'.*no device of this machine"):
        qv.from_pretrained(receiver_folder, device_map="cuda")
