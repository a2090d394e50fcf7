"""The model card of a vector: metadata and text, from the vector's config and its evidence."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from ...artifact.config import CARD_FILE, CONFIG_FILE, IMAGES_FILE, VectorConfig
from ...errors import ArtifactError
from ...results.evidence import Evidence
from ...results.reference import reference_table
from .evidence_table import failures, headline, results_table
from .front_matter import BLOCK, drop_results, hub_id, read_card, vector_data
from .markdown import linked, plain, sized, table
from .model_index import read_evidence
from .render import UNKNOWN_LICENSE, fill_template, merge_card

__all__ = ["combine_cards", "has_images", "tensor_bytes", "vector_card", "write_card"]

OF_TASK = """\
A **quantization vector** made from {task}. It is what quantization-aware training changes in the weights of
{base}, kept apart from what ordinary fine-tuning changes. It is meant to be added to *another* fine-tune of
the same base"""
OF_BASE = """\
A **quantization vector** made from {base} itself, without any task. It is what training for the grid, towards the
base's own features on images without labels, changes in the weights. It is meant to be added to any fine-tune of that
base"""
FROM_PAIR = """\
The difference *quantization-aware fine-tune − plain fine-tune*: both from {base}, on the same task, with the
same seed and data order; the classification head is left out."""
FROM_BASE = """\
The difference *base trained for the grid − base*: with its weights rounded in every forward pass, {base} was
trained to compute what it computes without rounding. No label was looked at, and no head is in it."""
SHIPPED_IMAGES = f"""
![Images of the donor's task]({IMAGES_FILE})

The vector carries these images of the donor's task. Loading runs the receiver on them and on proxy images to choose
scales and codes; no image of the receiver's own task is needed.
"""


def vector_card(
    config: VectorConfig,
    repo_id: str,
    size: int,
    evidence: Evidence | None = None,
    *,
    license: str | None = None,
    existing: str = "",
    images: bool = False,
) -> str:
    """Write a vector's ``README.md``.

    Args:
        size: bytes of its tensor files.
        evidence: results of the vector; None keeps those of the existing card if they are of the same tensors.
        license: an id of the Hub's list, such as ``apache-2.0``; None keeps that of the existing card.
        existing: the current card; sections and metadata that the author wrote are kept.
        images: whether the vector carries images of its donor's task, in a file beside the card.

    Raises:
        ArtifactError: when the existing card's metadata cannot be read.
    """
    assert config.tensors is not None
    known, text = read_card(existing)
    chosen = license or known.get("license") or UNKNOWN_LICENSE
    if evidence is None and _describes(known, config.tensors.sha256):
        evidence = read_evidence(known, repo_id)
    if evidence is None:
        drop_results(known)
    data = vector_data(config, repo_id, size, evidence, chosen)
    generated = fill_template("vector.md", _context(config, repo_id, size, evidence, images))
    return merge_card(known, text, data, generated)


def combine_cards(older: str, newer: str) -> str:
    """Combine the hand-written parts of two cards; of a part that both have, the newer one is kept.

    Raises:
        ArtifactError: when the metadata of one cannot be read.
    """
    if not older or not newer:
        return older or newer
    (old, old_text), (new, new_text) = read_card(older), read_card(newer)
    sha256 = new[BLOCK].get("sha256") if isinstance(new.get(BLOCK), dict) else None
    if not _describes(old, sha256):
        drop_results(old)
    if new.get("license") == UNKNOWN_LICENSE:
        new.pop("license")
    return merge_card(old, old_text, new, new_text)


def tensor_bytes(folder: Path) -> int:
    """Size of a saved vector's tensor files, in bytes."""
    return sum(path.stat().st_size for path in folder.glob("qvec*.safetensors"))


def has_images(folder: Path) -> bool:
    """Whether a saved vector carries images of its donor's task."""
    return (folder / IMAGES_FILE).is_file()


def write_card(folder: Path, old: Path) -> None:
    """Write the card of a vector that is being saved; warns and writes none if the old card cannot be read.

    Args:
        folder: contains the vector's other files; the card is written there.
        old: path of the earlier card, which need not exist; it is not changed.
    """
    existing = old.read_text(encoding="utf-8", errors="replace") if old.is_file() else ""
    config = VectorConfig.read(folder / CONFIG_FILE)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{_short(config)}-{config.grid.name}-qvec").strip("-")
    try:
        text = vector_card(
            config, f"your-name/{name[:90]}", tensor_bytes(folder), existing=existing, images=has_images(folder)
        )
    except ArtifactError as error:
        warnings.warn(f"{old}: not refreshed: {error}", stacklevel=5)
        return
    (folder / CARD_FILE).write_text(text, encoding="utf-8")


def _context(config: VectorConfig, repo_id: str, size: int, evidence: Evidence | None, images: bool) -> dict[str, Any]:
    name = repo_id.split("/")[-1]
    bits = config.grid.bits
    base = hub_id(config.base_model.repo_id)
    base_text = linked(base, config.base_model.revision) or "an unpublished base model"
    what, how = (OF_BASE, FROM_BASE) if config.of_base else (OF_TASK, FROM_PAIR)
    receiver = _example_receiver(evidence)
    return {
        "title": name,
        "bits": bits,
        "grid": config.grid.name,
        "repo_id": repo_id,
        "what": what.format(task=_task(config), base=base_text),
        "how": how.format(base=base_text),
        "base_short": linked(base) or "the same base",
        "receiver": receiver or "me/my-vit",
        "receiver_hint": "" if receiver else " (`me/my-vit` stands for yours)",
        "saved": f"{(receiver or 'me/my-vit').split('/')[-1]}-int{bits}",
        "facts": _facts(config, size),
        "images": SHIPPED_IMAGES if images else "",
        "recipe": _recipe(config),
        "headline": headline(evidence, bits),
        "measured": results_table(evidence, repo_id),
        "limits": _limits(config, evidence),
    }


def _describes(front: dict[str, Any], sha256: str | None) -> bool:
    """Whether a card's numbers were measured with these tensors."""
    block = front.get(BLOCK)
    return isinstance(block, dict) and block.get("sha256") == sha256


def _example_receiver(evidence: Evidence | None) -> str | None:
    """A published model on which the vector was measured, so that the card's example runs unchanged."""
    return next((pair.receiver for pair in evidence.pairs if hub_id(pair.receiver)), None) if evidence else None


def _short(config: VectorConfig) -> str:
    return config.donor.task or ("base" if config.of_base else "merged")


def _task(config: VectorConfig) -> str:
    if config.sources:
        return f"{len(config.sources)} other vectors"
    task, dataset = config.donor.task, config.donor.dataset
    named = f"the task **{plain(task)}**" if task else "a task its author did not name"
    if not dataset or dataset == task:
        return named
    at = f" at `{config.donor.dataset_revision[:12]}`" if config.donor.dataset_revision else ""
    link = f"[{dataset}](https://huggingface.co/datasets/{dataset})" if hub_id(dataset) else f"`{plain(dataset)}`"
    return f"{named} ({link}{at})"


def _facts(config: VectorConfig, size: int) -> str:
    assert config.tensors is not None
    grid, sizes = config.grid, config.architecture
    levels = f"{grid.qmax * 2 + 1} of {grid.fan}" if grid.symmetric and grid.range == "absmax" else f"{grid.fan}"
    per = {"tensor": "one scale per matrix", "channel": "one scale per output row"}.get(
        grid.granularity, f"one scale per {grid.group_size} inputs of a row"
    )
    symmetry = "symmetric" if grid.symmetric else "affine"
    rows = [
        ("base model", linked(hub_id(config.base_model.repo_id), config.base_model.revision) or "not published"),
        ("architecture", f"{config.model_type}, " + ", ".join(f"{k} {v}" for k, v in sizes.items())),
        ("grid", f"`{grid.name}`: {grid.bits} bits ({levels} levels in use), {per}, {symmetry}, {grid.range} range"),
        ("recommended scale λ", f"{config.scale:g}"),
        ("size", f"{config.tensors.count} tensors, {config.tensors.parameters:,} parameters, {sized(size)} "
                 f"({_encoding(config)})"),
        ("norm", f"{config.tensors.norm:.4g}"),
        ("sha256 of the tensors", f"`{config.tensors.sha256}`"),
    ]  # fmt: skip
    rows += [
        (f"made from {i}", f"{source.weight:g} × {linked(source.repo_id, source.revision) or 'a local vector'}")
        for i, source in enumerate(config.sources, 1)
    ]
    return table(["", ""], [[plain(key), value] for key, value in rows])


def _encoding(config: VectorConfig) -> str:
    assert config.tensors is not None
    lost = config.encoding.relative_error
    if lost is None:
        return config.encoding.name
    whole = sized(4 * config.tensors.parameters)
    return f"{config.encoding.name}, instead of {whole}; off by {lost:.1%} of the vector's norm{_lost(config)}"


def _lost(config: VectorConfig) -> str:
    """The accuracy that the encoding costs on the zoo, if that was measured on the vector's grid."""
    table = reference_table("encodings")
    for entry in table["points"]:
        if (entry["grid"], entry["encoding"]) == (config.grid.name, config.encoding.name):
            return (
                f", which cost {entry['lost']:.2f} points of accuracy on the zoo ({table['base']}, mean of "
                f"{table['receivers']} receivers, each with the mean of the others' vectors so encoded)"
            )
    return ""


def _recipe(config: VectorConfig) -> str:
    if not config.recipe:
        return f"Its author left no recipe in `{CONFIG_FILE}`."
    rows = [[plain(key.replace("_", " ")), f"`{plain(value)}`"] for key, value in config.recipe.items()]
    return table(["recipe", "value"], rows)


def _limits(config: VectorConfig, evidence: Evidence | None) -> str:
    name = config.grid.name
    lines = [
        f"- It belongs to its base and to its grid, `{name}`. On another grid it can do harm, and loading warns.",
        "- One donor can make a receiver worse than plain rounding. Measure on your own images where you have any.",
        "- **With images of the receiver's task, calibrated methods do better.** On ViT-B at 3 bits the paper reports "
        "a mean top-1 of about 0.22 for plain rounding, 0.32 with one vector at scale 1, 0.75 for AWQ and 0.79 for "
        "GPTQ, which both need such images.",
        "- Only the weights of linear layers are rounded; activations, norms, embeddings and the head stay in float.",
    ]
    return "\n".join([*failures(evidence), *lines])
