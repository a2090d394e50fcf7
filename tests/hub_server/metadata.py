"""Is a card's metadata valid? The checks of the Hub's ``/api/validate-yaml``, as far as models and datasets go."""

from __future__ import annotations

import re
from typing import Any

import yaml

from .cards import front_matter, parse

REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_LEGACY_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}")  # "gpt2": from before there were owners
RELATIONS = ("adapter", "finetune", "merge", "quantized")
_LICENSES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
openrail++ afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0
cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0
cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
lgpl-2.1 lgpl-3.0 lgpl-lr isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl
open-mdw openmdw-1.0 osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl deepfloyd-if-license
fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 grok2-community gemma unknown
other
"""
LICENSES = frozenset(_LICENSES.split())
_PIPELINES = """
text-classification token-classification table-question-answering question-answering zero-shot-classification
translation summarization feature-extraction text-generation text2text-generation fill-mask sentence-similarity
text-to-speech text-to-audio automatic-speech-recognition audio-to-audio audio-classification audio-text-to-text
voice-activity-detection depth-estimation image-classification object-detection image-segmentation text-to-image
image-to-text image-to-image image-to-video unconditional-image-generation video-classification reinforcement-learning
robotics tabular-classification tabular-regression tabular-to-text table-to-text multiple-choice text-ranking
text-retrieval time-series-forecasting text-to-video image-text-to-text image-text-to-image image-text-to-video
visual-question-answering document-question-answering zero-shot-image-classification graph-ml mask-generation
zero-shot-object-detection text-to-3d image-to-3d image-feature-extraction video-text-to-text keypoint-detection
visual-document-retrieval any-to-any video-to-video other
"""
PIPELINES = frozenset(_PIPELINES.split())


def validate(text: str, kind: str) -> tuple[list[str], list[str]]:
    """Errors and warnings about the metadata at the head of a README."""
    block = front_matter(text)
    if block is None or not block.strip():
        return [], ["empty or missing YAML metadata in the repository's README.md"]
    try:
        card = parse(block)
    except yaml.YAMLError as error:
        return [f"Invalid YAML: {error}"], []
    if not isinstance(card, dict):
        return ["the metadata must be a mapping of names to values"], []
    found = [_strings(card, key) for key in ("tags", "language", "license_name", "license_link")]
    found += [_license(card)]
    found += _model(card) if kind == "model" else _dataset(card)
    return [error for error in found if error], []


def _model(card: dict[str, Any]) -> list[str]:
    found = [_strings(card, key) for key in ("datasets", "metrics")]
    found += [_string(card, "library_name"), _one_of(card, "pipeline_tag", PIPELINES)]
    found += [_one_of(card, "base_model_relation", RELATIONS), _base_model(card)]
    return found + (_model_index(card["model-index"]) if "model-index" in card else [])


def _dataset(card: dict[str, Any]) -> list[str]:
    found = [_strings(card, key) for key in ("task_categories", "task_ids", "size_categories", "source_datasets")]
    if not isinstance(card.get("configs", []), list):
        found.append('"configs" must be a list')
    return found


def _license(card: dict[str, Any]) -> str:
    value = card.get("license")
    values = value if isinstance(value, list) else [value]
    if "license" not in card or all(isinstance(each, str) and each in LICENSES for each in values):
        return ""
    return f'"license" must be one of the known identifiers (or "other"), found {value!r}'


def _base_model(card: dict[str, Any]) -> str:
    value = card.get("base_model", [])
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, str) or not (REPO_ID.fullmatch(each) or _LEGACY_ID.fullmatch(each)):
            return f'"base_model" with value {each!r} is not valid. Use a model id from the Hub.'
    return ""


def _strings(card: dict[str, Any], key: str) -> str:
    value = card.get(key, [])
    values = value if isinstance(value, list) else [value]
    if all(isinstance(each, str) for each in values):
        return ""
    return f'"{key}" must be a string or a list of strings'


def _string(card: dict[str, Any], key: str) -> str:
    return "" if isinstance(card.get(key, ""), str) else f'"{key}" must be a string'


def _one_of(card: dict[str, Any], key: str, known: Any) -> str:
    if key not in card or (isinstance(card[key], str) and card[key] in known):
        return ""
    return f'"{key}" must be one of the known values, found {card[key]!r}'


def _model_index(index: Any) -> list[str]:
    if not isinstance(index, list):
        return ['"model-index" must be a list']
    found = []
    for i, model in enumerate(index):
        where = f"model-index[{i}]"
        if not isinstance(model, dict):
            found.append(f'"{where}" must be an object')
            continue
        found.append(_member(model, "name", where))
        results = model.get("results")
        if not isinstance(results, list):
            found.append(f'"{where}.results" is required and must be a list')
            continue
        for j, result in enumerate(results):
            found += _result(result, f"{where}.results[{j}]")
    return found


def _result(result: Any, where: str) -> list[str]:
    if not isinstance(result, dict):
        return [f'"{where}" must be an object']
    found = []
    for part, keys in {"task": ("type",), "dataset": ("type", "name")}.items():
        value = result.get(part)
        if isinstance(value, dict):
            found += [_member(value, key, f"{where}.{part}") for key in keys]
        else:
            found.append(f'"{where}.{part}" is required and must be an object')
    metrics = result.get("metrics")
    if not isinstance(metrics, list) or not metrics:
        return [*found, f'"{where}.metrics" is required and must be a list with at least one metric']
    for k, metric in enumerate(metrics):
        if not isinstance(metric, dict):
            found.append(f'"{where}.metrics[{k}]" must be an object')
            continue
        found.append(_member(metric, "type", f"{where}.metrics[{k}]"))
        if metric.get("value") is None:
            found.append(f'"{where}.metrics[{k}].value" is required')
    return found


def _member(values: dict[str, Any], key: str, where: str) -> str:
    return "" if isinstance(values.get(key), str) and values[key] else f'"{where}.{key}" is required: a string'
