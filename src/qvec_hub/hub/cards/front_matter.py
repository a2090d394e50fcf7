"""The front matter of a card: generated metadata, merged with the author's own keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from huggingface_hub import ModelCardData
from huggingface_hub.utils import yaml_dump

from ...artifact.config import CARD_FILE, VectorConfig
from ...artifact.schema import REPO_ID
from ...errors import ArtifactError, first_line
from ...grid.grid import Grid
from ...results.evidence import Evidence
from .model_index import RESULTS, TASK, evidence_table, headline_results
from .sections import split_card
from .values import grid_name

__all__ = [
    "BLOCK",
    "TAG",
    "drop_results",
    "dump_front",
    "hub_id",
    "merge_front",
    "model_data",
    "read_card",
    "vector_data",
]

TAG = "quantization-vector"
BLOCK = "quantization_vector"  # our own key, for what searches need and no standard key has


def vector_data(
    config: VectorConfig, repo_id: str, size: int, evidence: Evidence | None, license: str | None
) -> dict[str, Any]:
    """Make the metadata of a vector's card.

    Args:
        size: bytes of the vector's tensor files.
        evidence: results; None leaves them out.
        license: an id of the Hub's list.
    """
    assert config.tensors is not None
    dataset = hub_id(config.donor.dataset)
    data = ModelCardData(
        library_name="qvec_hub",
        pipeline_tag=TASK,
        license=license,
        base_model=hub_id(config.base_model.repo_id),
        datasets=[dataset] if dataset else None,
        metrics=["accuracy"],
        tags=[TAG, config.grid.name, config.grid.width, config.model_type],
        model_name=repo_id.split("/")[-1] if evidence else None,
        eval_results=headline_results(evidence) if evidence else None,
        base_model_relation="adapter" if hub_id(config.base_model.repo_id) else None,
    ).to_dict()
    data[BLOCK] = {
        "task": config.donor.task,
        "of_base": config.of_base,
        "grid": config.grid.name,
        "scale": config.scale,
        "encoding": config.encoding.name,
        "parameters": config.tensors.parameters,
        "bytes": size,
        "sha256": config.tensors.sha256,
    }
    if evidence is not None:
        data[RESULTS] = evidence_table(evidence)
    return data


def model_data(grid: Grid, base: str | None, datasets: list[str] | None, license: str | None) -> dict[str, Any]:
    """Make the metadata of a quantized model's card; `base` is the float model it was made from."""
    return ModelCardData(
        library_name="transformers",
        pipeline_tag=TASK,
        license=license,
        base_model=hub_id(base),
        datasets=datasets,
        tags=["qvec", grid.name, grid.width],
        base_model_relation="quantized" if hub_id(base) else None,
    ).to_dict()


def read_card(card: str) -> tuple[dict[str, Any], str]:
    """Split a card into its parsed front matter (empty if there is none) and the text below.

    Raises:
        ArtifactError: when the front matter is not a YAML mapping.
    """
    front, text = split_card(card)
    try:
        values = yaml.safe_load(front) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{CARD_FILE}: its metadata is not YAML ({first_line(error)}); correct or remove it"
        ) from error
    if not isinstance(values, dict):
        raise ArtifactError(f"{CARD_FILE}: its metadata is not a YAML mapping; correct or remove it")
    return values, text


def drop_results(values: dict[str, Any]) -> None:
    """Remove the results from a card's metadata, because they were measured with other tensors."""
    for key in ("model-index", RESULTS):
        values.pop(key, None)


def merge_front(existing: Mapping[str, Any], generated: Mapping[str, Any]) -> dict[str, Any]:
    """Merge metadata: generated keys replace existing ones; the author's other keys and tags are kept."""
    merged = {**existing, **generated}
    theirs = existing.get("tags")
    kept = [tag for tag in theirs if isinstance(tag, str)] if isinstance(theirs, list) else []
    ours = [*generated.get("tags", [])]
    merged["tags"] = ours + [tag for tag in kept if tag not in ours and grid_name(tag) is None]
    return merged


def dump_front(values: Mapping[str, Any]) -> str:
    """Write front matter as YAML; the table of results comes last, with one line for each pair."""
    text = str(yaml_dump({key: value for key, value in values.items() if key != RESULTS}, sort_keys=False))
    if RESULTS in values:
        table = {RESULTS: values[RESULTS]}
        text += str(yaml_dump(table, sort_keys=False, default_flow_style=None, width=float("inf")))
    return text


def hub_id(name: str | None) -> str | None:
    """The name itself if it has the form of a Hub id, ``org/name``; else None."""
    return name if name is not None and REPO_ID.accepts(name) else None
