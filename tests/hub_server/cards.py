"""Model and dataset cards: the metadata block of a README, and the tags the Hub derives from it and the files."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

import yaml

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BLOCK = re.compile(r"\s*---[ \t]*\r?\n(.*?)(?:^|\r?\n)---[ \t]*(?:\r?\n|$)", re.DOTALL)
_ARXIV = re.compile(r"arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5})")
_PREFIXED = {"license": "license", "datasets": "dataset"}
_DATASET_PREFIXED = ("task_categories", "task_ids", "language", "license", "size_categories", "annotations_creators")


def front_matter(text: str) -> str | None:
    """The YAML between the two lines of dashes a README starts with."""
    found = _BLOCK.match(text)
    return found[1] if found else None


@lru_cache(4096)
def parse(text: str) -> Any:
    """A YAML text as plain JSON values, not to be changed: dates become strings, NaN and infinities null.

    Raises:
        yaml.YAMLError: when it is none.
    """
    return _plain(yaml.load(text, _Loader))


def read_card(readme: bytes | None) -> dict[str, Any] | None:
    """A README's metadata, or None where there is none that can be read."""
    block = front_matter((readme or b"").decode("utf-8", "replace"))
    if block is None:
        return None
    try:
        card = parse(block)
    except yaml.YAMLError:
        return None
    return card if isinstance(card, dict) else None


def strings(value: Any) -> list[str]:
    """A string, or a list of some, as a list."""
    values = value if isinstance(value, list) else [value]
    return [str(each) for each in values if isinstance(each, (str, int, float)) and not isinstance(each, bool)]


def relation(card: Mapping[str, Any], names: Collection[str]) -> str:
    """How a model descends from its base: as its card says, or else as its files look."""
    if isinstance(card.get("base_model_relation"), str):
        return str(card["base_model_relation"])
    if len(strings(card.get("base_model"))) > 1:
        return "merge"
    return "adapter" if "adapter_config.json" in names else "finetune"


def library(card: Mapping[str, Any], config: Mapping[str, Any] | None) -> str | None:
    if isinstance(card.get("library_name"), str):
        return str(card["library_name"])
    return "transformers" if config and "model_type" in config else None


def model_tags(
    card: Mapping[str, Any], names: Collection[str], config: Mapping[str, Any] | None, readme: bytes
) -> list[str]:
    tags = [library(card, config), card.get("pipeline_tag")]
    tags += ["safetensors"] if any(name.endswith(".safetensors") for name in names) else []
    tags += [(config or {}).get("model_type"), *strings(card.get("tags")), *strings(card.get("language"))]
    for key, prefix in _PREFIXED.items():
        tags += [f"{prefix}:{value}" for value in strings(card.get(key))]
    tags += _base_tags(card, names)
    tags += [f"arxiv:{number}" for number in _ARXIV.findall(readme.decode("utf-8", "replace"))]
    tags += ["model-index"] if card.get("model-index") else []
    return _distinct([*tags, "region:us"])


def dataset_tags(card: Mapping[str, Any], names: Collection[str]) -> list[str]:
    tags = [f"{key}:{value}" for key in _DATASET_PREFIXED for value in strings(card.get(key))]
    tags += strings(card.get("tags"))
    tags += ["format:parquet"] if any(name.endswith(".parquet") for name in names) else []
    return _distinct([*tags, "region:us"])


def _base_tags(card: Mapping[str, Any], names: Collection[str]) -> list[str]:
    bases, kind = strings(card.get("base_model")), relation(card, names)
    return [f"base_model:{base}" for base in bases] + [f"base_model:{kind}:{base}" for base in bases]


def _distinct(tags: list[Any]) -> list[str]:
    return list(dict.fromkeys(tag for tag in tags if isinstance(tag, str) and tag))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)
