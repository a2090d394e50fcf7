"""The keyword arguments of transformers' ``from_pretrained``: those we accept, and why we refuse the others.

No argument is ignored: it works as in transformers, or is refused by its name.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedConfig

from ..backbone.checkpoint_files import HUB_KEYS
from ..backbone.config_values import LARGEST
from ..errors import QVecError, first_line
from ..util.untrusted import printable

__all__ = ["Keywords", "sort_keywords"]

_LOADING = ("dtype", "device_map", "max_memory", "attn_implementation")
_NO_HEAD = "a head drawn at random cannot classify; train it first, then quantize the trained model"
_FLOAT = "quantize the float model with vector= and weights="

# Argument -> values that are accepted beside None, and what to do instead.
_REFUSED: dict[str, tuple[Collection[Any], str]] = {
    "quantization_config": ((), f"{_FLOAT}, or load with transformers and quantization_config=qvec_hub.QVecConfig(…)"),
    "state_dict": ((), "save the model to a folder first, or use qvec_hub.quantize_ on the model in memory"),
    "ignore_mismatched_sizes": ((False,), _NO_HEAD),
    "output_loading_info": ((False,), "missing weights are an error here, so there is nothing to list"),
    "use_safetensors": ((True,), "only safetensors files are read, others can run code"),
    "trust_remote_code": ((False,), "code of a repository is never run; use a model class of transformers"),
    "code_revision": ((), "code of a repository is never run"),
    "weights_only": ((True,), "only safetensors files are read"),
    "gguf_file": ((), "GGUF files are not read; use the float checkpoint"),
    "from_tf": ((False,), "only safetensors files are read"),
    "from_flax": ((False,), "only safetensors files are read"),
    "adapter_kwargs": (({},), "merge the adapter (peft: merge_and_unload()), save the model and load that"),
    "adapter_name": (("default",), "merge the adapter (peft: merge_and_unload()), save the model and load that"),
    "key_mapping": (({},), "rename the tensors in the checkpoint"),
    "tp_plan": ((), "packed layers are not split over devices; place the model with device_map="),
    "tp_size": ((), "packed layers are not split over devices; place the model with device_map="),
    "device_mesh": ((), "packed layers are not split over devices; place the model with device_map="),
    "distributed_config": ((), "packed layers are not split over devices; place the model with device_map="),
    "offload_folder": ((), "packed weights are small, so nothing is put on the disk"),
    "offload_buffers": ((False,), "packed weights are small, so nothing is put on the disk"),
    "offload_state_dict": ((False,), "packed weights are small, so nothing is put on the disk"),
    "proxies": (({},), "set the environment variables HTTPS_PROXY and NO_PROXY"),
    "mirror": ((), "set the environment variable HF_ENDPOINT"),
    "resume_download": ((False, True), "interrupted downloads always resume"),
    "use_auth_token": ((), "it is called token= now"),
    "generation_config": ((), "an image classifier generates nothing"),
    "use_kernels": ((False,), "kernels from the Hub are code, which is never run"),
    "kernel_config": ((), "kernels from the Hub are code, which is never run"),
    "allow_all_kernels": ((False,), "kernels from the Hub are code, which is never run"),
    "experts_implementation": ((), "an image classifier of this package has no experts"),
    "fusion_config": ((), "fused layers cannot be told from the checkpoint's"),
    "load_in_8bit": ((False,), f"{_FLOAT}, such as weights='int8'"),
    "load_in_4bit": ((False,), f"{_FLOAT}, such as weights='int4'"),
}  # fmt: skip
_WITHOUT_EFFECT = ("low_cpu_mem_usage", "_fast_init", "disable_mmap")  # in transformers 5 as well
_PLACES = ("auto", "balanced", "balanced_low_0", "sequential")


@dataclass(frozen=True)
class Keywords:
    """The arguments of one call, sorted by purpose.

    Attributes:
        hub: where to find the checkpoint: revision, token, cache_dir, local_files_only, subfolder, force_download.
        loading: passed on to transformers: dtype, device_map, max_memory, attn_implementation.
        changes: values of the checkpoint's config to change.
        variant: name part of the weight files, such as ``"fp16"``.
        config: used instead of the checkpoint's own.
    """

    hub: dict[str, Any]
    loading: dict[str, Any]
    changes: dict[str, Any]
    variant: str | None = None
    config: PreTrainedConfig | None = None

    def changed(self, config: PreTrainedConfig) -> PreTrainedConfig:
        """Apply `changes` to a config, in place, and return it.

        Raises:
            QVecError: when an argument is unknown, or contradicts the checkpoint's weights.
        """
        classes = config.num_labels
        for key, value in self.changes.items():
            if key not in _values_of(config):
                raise QVecError(f"from_pretrained: {_unknown(key, config)}")
            if (key in LARGEST and key != "num_labels") or key == "model_type":
                raise _refusal(key, value, "the checkpoint's weights have fixed sizes; leave this argument out")
            try:
                setattr(config, key, value)
            except Exception as error:  # of transformers, which validates some
                raise _refusal(key, value, first_line(error)) from error
        if {"num_labels", "id2label", "label2id"}.intersection(self.changes) and config.num_labels != classes:
            key = next(key for key in ("num_labels", "id2label", "label2id") if key in self.changes)
            raise _refusal(key, self.changes[key], f"the checkpoint's head has {classes} classes; {_NO_HEAD}")
        return config


def sort_keywords(given: Mapping[str, Any]) -> Keywords:
    """Sort the keyword arguments of `qvec_hub.from_pretrained` by purpose.

    Raises:
        QVecError: when an argument is refused; the message says what to do instead.
    """
    given = dict(given)
    if given.get("torch_dtype") is not None:
        if given.get("dtype") not in (None, given["torch_dtype"]):
            raise _refusal("torch_dtype", given["torch_dtype"], "it is the old name of dtype=, which differs; give one")
        given["dtype"] = given["torch_dtype"]
    given.pop("torch_dtype", None)
    for key, (passing, instead) in _REFUSED.items():
        if given.get(key) is not None and not any(given[key] is one or given[key] == one for one in passing):
            raise _refusal(key, given[key], instead)
    _check_texts(given)
    _check_dtype(given.get("dtype"))
    _check_device_map(given.get("device_map"))
    if given.get("config") is not None and not isinstance(given["config"], PreTrainedConfig):
        raise _refusal("config", given["config"], "pass a config object, such as transformers' AutoConfig loads")
    known = {*HUB_KEYS, *_LOADING, *_REFUSED, *_WITHOUT_EFFECT, "variant", "config"}
    return Keywords(
        hub={key: given[key] for key in HUB_KEYS if given.get(key) is not None},
        loading={key: given[key] for key in _LOADING if given.get(key) is not None},
        changes={key: value for key, value in given.items() if key not in known},
        variant=given.get("variant") or None,
        config=given.get("config"),
    )


def _check_texts(given: Mapping[str, Any]) -> None:
    for key in ("revision", "subfolder", "variant"):
        if given.get(key) is not None and not isinstance(given[key], str):
            raise _refusal(key, given[key], "pass a text")
    if given.get("variant") and not given["variant"].replace("-", "").replace("_", "").isalnum():
        raise _refusal("variant", given["variant"], "expected letters and digits, such as 'fp16'")
    if given.get("force_download") and given.get("local_files_only"):
        raise _refusal("force_download", True, "it contradicts local_files_only=True; give one of them")


def _check_dtype(dtype: Any) -> None:
    named = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype in (None, "auto") or (isinstance(named, torch.dtype) and named in _FLOATS):
        return
    raise _refusal(
        "dtype",
        dtype,
        f"expected 'auto' or one of {', '.join(map(str, _FLOATS))}; a width such as int3 goes to weights=",
    )


_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def _check_device_map(device_map: Any) -> None:
    if device_map is None or device_map in _PLACES:
        return
    for place in device_map.values() if isinstance(device_map, dict) else [device_map]:
        if place == "disk":
            raise QVecError("device_map: a layer is placed on 'disk'; packed weights are small, place it on 'cpu'")
        try:
            kind = torch.empty(0, device=place).device.type
        except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
            # AssertionError: torch was built without that kind
            raise _refusal(
                "device_map", place, f"no device of this machine ({first_line(error)}); try 'cpu'"
            ) from error
        if kind == "meta":
            raise _refusal("device_map", place, "a model there has no weights; try 'cpu'")


def _values_of(config: PreTrainedConfig) -> set[str]:
    """Names of the config's values that may be changed."""
    names = {*config.to_dict(), "num_labels", "id2label", "label2id", "problem_type", "output_attentions"}
    return {name for name in names if not name.startswith("_") and hasattr(config, name)}


def _unknown(key: str, config: PreTrainedConfig) -> str:
    ours = ("vector", "weights", "scale", "check_lineage", "rounding", "images", "progress")
    close = difflib.get_close_matches(key, [*ours, *HUB_KEYS, *_LOADING, *_values_of(config)], n=1)
    meant = f"; did you mean {close[0]}=?" if close else "; help(qvec_hub.from_pretrained) lists the arguments"
    return f"unknown argument {printable(key, 60)!r}{meant}"


def _refusal(key: str, value: Any, instead: str) -> QVecError:
    return QVecError(f"from_pretrained: {key}={printable(repr(value), 80)} is not possible: {instead}")
