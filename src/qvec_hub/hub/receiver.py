"""Which base does a receiver descend from? Its card may say, its config may, its weights always do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from transformers import PreTrainedModel

from ..artifact import CARD_FILE, LINEAGE_FILE
from ..checkpoint import is_folder, known_origin, load_classifier, load_config
from ..errors import ArtifactError, LineageError, QVecError
from ..lineage import MIN_SIMILARITY, probe, similarity
from ..naming import backbone_tensors
from ..remote import LIBRARY, hub_errors, split_revision
from ..tensor_files import read_lineage
from .listing import Listed
from .metadata import hub_id, read_front
from .sections import split_card

__all__ = ["Receiver", "find_base"]


@dataclass(frozen=True)
class Receiver:
    """A receiver's base, and how it was found."""

    base_model: str
    found_by: str


def find_base(
    receiver: str | Path | PreTrainedModel, vectors: Sequence[Listed], token: str | bool | None = None
) -> Receiver:
    """The base that vectors on the Hub were made on and that the receiver descends from.

    The card and the config are believed when vectors of the base they name exist; else the receiver's weights are
    compared with the sketch of every base there is a vector of.

    Raises:
        LineageError: when none of them is its base.
        ArtifactError: when the receiver cannot be read.
    """
    bases = {vector.base_model for vector in vectors if vector.base_model}
    for base, found_by in _claims(receiver, token):
        if base in bases:
            return Receiver(base, found_by)
    measured = _similarities(receiver, vectors, token)
    if measured and (best := max(measured, key=lambda base: measured[base])) and measured[best] >= MIN_SIMILARITY:
        return Receiver(best, f"weights (similarity {measured[best]:.3f})")
    claimed = next((base for base, _ in _claims(receiver, token)), None)
    says = f"its card or config names {claimed}" if claimed else "neither its card nor its config names a base"
    raise LineageError(
        f"{_name(receiver)}: no vector on the Hub was made on its base ({says}; compared with {len(measured)} bases"
        + (f", the closest {best} with similarity {measured[best]:.3f}" if measured else "")
        + "). Name the base with base_model (--base), or make a donor for it with `qvec train`"
    )


def _name(receiver: Any) -> str:
    return type(receiver).__name__ if isinstance(receiver, PreTrainedModel) else str(receiver)


def _claims(receiver: str | Path | PreTrainedModel, token: str | bool | None) -> list[tuple[str, str]]:
    """Bases that the receiver's card and config name, and itself: it may be a base."""
    claims: list[tuple[str, str]] = []
    if isinstance(receiver, PreTrainedModel):
        origin, config = known_origin(receiver).repo_id, receiver.config
    else:
        origin = None if is_folder(receiver) else split_revision(str(receiver))[0]
        card = _card(receiver, token)
        named = card.get("base_model")
        for base in named if isinstance(named, list) else [named]:
            if isinstance(base, str) and hub_id(base):
                claims.append((base, "its card"))
        config = load_config(*_pinned(receiver), token=token)
    for key in ("_name_or_path", "base_model_name_or_path"):
        value = getattr(config, key, None)
        if isinstance(value, str) and hub_id(value) and value != origin:
            claims.append((value, "its config"))
    if origin:
        claims.append((origin, "its own name"))
    return claims


def _pinned(receiver: str | Path) -> tuple[str | Path]:
    return (receiver if is_folder(receiver) else split_revision(str(receiver))[0],)


def _card(receiver: str | Path, token: str | bool | None) -> dict[str, Any]:
    if is_folder(receiver):
        path = Path(receiver).expanduser() / CARD_FILE
    else:
        repo_id, revision = split_revision(str(receiver))
        with hub_errors(receiver, "its card could not be fetched"):
            try:
                path = Path(hf_hub_download(repo_id, CARD_FILE, revision=revision, token=token, **LIBRARY))
            except EntryNotFoundError:
                return {}
    if not path.is_file():
        return {}
    try:
        return read_front(split_card(path.read_text(encoding="utf-8", errors="replace"))[0], str(path))
    except ArtifactError:
        return {}  # a receiver's card is no business of ours; its weights will tell


def _similarities(
    receiver: str | Path | PreTrainedModel, vectors: Sequence[Listed], token: str | bool | None
) -> dict[str, float]:
    """Base -> similarity of the receiver's weights to its sketch, by one vector of each base that has one."""
    tensors: dict[str, Any] | None = None
    measured: dict[str, float] = {}
    for vector in vectors:
        if not vector.base_model or vector.base_model in measured:
            continue
        sketch = _sketch(vector, token)
        if not sketch:
            continue
        if tensors is None:
            tensors = dict(backbone_tensors(load_classifier(receiver, head_required=False)))
        if any(name not in tensors for name in sketch):
            measured[vector.base_model] = 0.0
            continue
        found = similarity(sketch, {name: probe(name, tensors[name]) for name in sketch})
        measured[vector.base_model] = 0.0 if found is None else found
    return measured


def _sketch(vector: Listed, token: str | bool | None) -> dict[str, Any] | None:
    try:
        with hub_errors(vector.repo_id, "its lineage could not be fetched"):
            path = hf_hub_download(vector.repo_id, LINEAGE_FILE, revision=vector.revision, token=token, **LIBRARY)
        return read_lineage(Path(path), None)
    except QVecError:
        return None  # without a sketch, or broken: another vector of the base may have one
