"""The card of a quantized model: what it was made from, how, and how to load it."""

from __future__ import annotations

from typing import Any

from ...artifact.model_record import OWN_IMAGES, PROXIES, ROUNDED
from ...grid.grid import Grid
from .front_matter import hub_id, model_data, read_card
from .markdown import linked, plain, table
from .render import UNKNOWN_LICENSE, fill_template, merge_card

__all__ = ["model_card"]

SHOWN = {PROXIES: "proxy images that come with qvec_hub", OWN_IMAGES: "calibration images that its author chose"}
CALIBRATED = "It was quantized with calibration images that its author chose: it is calibrated, not zero-shot."


def model_card(config: Any, repo_id: str, *, tags: list[str] | None = None, existing: str = "") -> str:
    """Write a quantized model's ``README.md``.

    Args:
        config: the transformers config of a model quantized by this package.
        repo_id: where the model is pushed to.
        tags: more tags for the metadata.
        existing: the current card; what its author wrote is kept.

    Raises:
        ArtifactError: when the existing card's metadata cannot be read.
    """
    saved = config.quantization_config
    record = saved if isinstance(saved, dict) else saved.to_dict()
    grid = Grid.parse(record["grid"])
    receiver, base = (_repo(record.get(role)) for role in ("receiver", "base_model"))
    known, text = read_card(existing)
    data = model_data(grid, receiver[0] or base[0], None, known.get("license") or UNKNOWN_LICENSE)
    data["tags"] += [tag for tag in tags or [] if tag not in data["tags"]]
    generated = fill_template("model.md", _context(config, record, grid, receiver, base, repo_id))
    return merge_card(known, text, data, generated)


def _context(
    config: Any, record: dict[str, Any], grid: Grid, receiver: tuple[Any, Any], base: tuple[Any, Any], repo_id: str
) -> dict[str, Any]:
    vectors = record.get("vector") or []
    rows = [
        ["receiver", linked(*receiver) or "a model that is not on the Hub"],
        ["base model", linked(*base) or "not known"],
        *([f"vector {i}" if len(vectors) > 1 else "vector", _vector(source)] for i, source in enumerate(vectors, 1)),
        ["grid", f"`{grid.name}`"],
        ["scale λ", _scale(record) if vectors else "none (no vector was added)"],
        ["rounding", _rounding(record)],
        ["classes", f"{config.num_labels}"],
        ["made with", f"qvec_hub {plain(record.get('qvec_hub_version', ''))}"],
    ]
    several = f"{len(vectors)} quantization vectors" if len(vectors) > 1 else "a quantization vector"
    return {
        "title": repo_id.split("/")[-1],
        "bits": grid.bits,
        "repo_id": repo_id,
        "receiver_text": linked(*receiver) or "An image classifier",
        "with_text": f"after {several} of the same base had been added" if vectors else "without a vector",
        "data_text": CALIBRATED if record.get("watched") == OWN_IMAGES else "No image of its task was used for that.",
        "facts": table(["", ""], rows),
        "made": _made(grid, bool(vectors), record.get("rounding") or "nearest"),
    }


def _scale(record: dict[str, Any]) -> str:
    """The scale and, if it was chosen automatically, the divergences it was chosen by."""
    points = record.get("scale_curve") or []
    if not points:
        return f"{record['scale']:g}"
    curve = ", ".join(f"{divergence:.3g} at {scale:g}" for scale, divergence in points)
    return f"{record['scale']:g}, chosen by the divergence from the float model's outputs: {curve} (0 adds no vector)"


def _rounding(record: dict[str, Any]) -> str:
    how = ROUNDED.get(record.get("rounding") or "nearest", f"by the rounding {plain(record.get('rounding'))}")
    return how if record.get("watched") is None else f"{how}, with {SHOWN.get(record['watched'], 'images')}"


def _made(grid: Grid, with_vector: bool, rounding: str) -> str:
    rounded = f"the weight of every linear layer of the backbone was rounded to the grid `{grid.name}` and packed"
    if rounding != "nearest":
        rounded += ", layer after layer, so that each layer's outputs change least on the calibration images"
    if not with_vector:
        return f"Post-training quantization without a vector: {rounded}."
    return (
        "The vector, the difference of a quantization-aware and a plain fine-tune of the same base on another task, "
        f"was multiplied by λ and added to the float weights; then {rounded}. Head, biases, norms and embeddings were "
        "not rounded. `config.json` records the same, with the commit of every vector."
    )


def _vector(source: dict[str, Any]) -> str:
    task = f" (task {plain(source['task'])})" if source.get("task") else ""
    name = linked(source.get("repo_id"), source.get("revision")) or "a vector that is not on the Hub"
    inner = f", folder `{plain(source['subfolder'])}`" if source.get("subfolder") else ""
    return f"{source.get('weight', 1.0):g} × {name}{inner}{task}"


def _repo(value: Any) -> tuple[str | None, str | None]:
    if not isinstance(value, dict) or not hub_id(value.get("repo_id")):
        return None, None
    return value["repo_id"], value.get("revision")
