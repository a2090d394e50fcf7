"""The facts that ``qvec info`` shows: a vector's config, repository, card, and fit to a model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..util.untrusted import printable
from .app import note

__all__ = ["card_facts", "hub_facts", "shown", "summary", "tensor_rows", "verdict"]

MAX_VALUE = 400


def summary(where: object, vector: Any) -> dict[str, Any]:
    """Values from the config of an opened vector."""
    config = vector.config
    return {
        "vector": str(where),
        "task": config.donor.task,
        "dataset": config.donor.dataset,
        "base_model": config.base_model.repo_id,
        "base_revision": config.base_model.revision,
        "model_type": config.model_type,
        "architecture": config.architecture,
        "grid": config.grid.name,
        "recipe": config.recipe,
        "recommended_scale": config.scale,
        "encoding": config.encoding.name,
        "encoding_error": config.encoding.relative_error,
        "tensors": config.tensors.count,
        "parameters": config.tensors.parameters,
        "norm": config.tensors.norm,
        "sha256": config.tensors.sha256,
        "lineage_sketch": vector.lineage is not None,
        "sources": [source.to_dict() for source in config.sources],
    }


def hub_facts(place: Any, token: str | None) -> dict[str, Any]:
    """Facts that only the Hub has; None for a local folder, and only the commit if the Hub cannot be reached."""
    from ..errors import HubError, first_line
    from ..hub_search.listing import look_up

    if place is None:
        return {"hub": None}
    facts = {"repo_id": place.repo_id, "commit": place.revision}
    try:
        found = look_up(place, token)
    except HubError as error:
        note(printable(first_line(error), MAX_VALUE))
        return {"hub": facts}
    facts |= {key: getattr(found, key) for key in ("downloads", "likes", "last_modified", "private", "gated")}
    return {"hub": facts}


def card_facts(where: str, place: Any, token: str | None = None) -> dict[str, Any]:
    """Licence and evidence from the card beside the vector; None if it does not give them."""
    from ..artifact.config import CARD_FILE, MAX_CARD_BYTES
    from ..errors import QVecError
    from ..hub.cards.front_matter import read_card
    from ..hub.cards.model_index import read_evidence
    from ..hub.cards.values import strings
    from ..hub_search.fetch import fetch
    from ..hub_search.listing import summary as in_numbers
    from ..util.untrusted import read_file

    try:
        path = fetch(place, CARD_FILE, token, MAX_CARD_BYTES) if place else Path(where).expanduser() / CARD_FILE
        text = read_file(path, MAX_CARD_BYTES).decode("utf-8", "replace")
        front = read_card(text)[0]
    except QVecError:
        front = {}  # the vector works without a card
    evidence = read_evidence(front, str(where))
    licenses = strings(front.get("license"))
    return {"license": licenses[0] if licenses else None, "evidence": in_numbers(evidence) if evidence else None}


def tensor_rows(vector: Any) -> list[dict[str, Any]]:
    """Name, shape, Euclidean norm and root mean square of each tensor."""
    rows = []
    for name, shape in vector.shapes().items():
        norm = float(vector[name].norm())
        rows.append({"name": name, "shape": list(shape), "norm": norm, "rms": norm / math.sqrt(math.prod(shape) or 1)})
    return rows


def verdict(vector: Any, receiver: str, token: str | None) -> dict[str, Any]:
    """Whether a vector can be added to a model, and why not.

    Raises:
        QVecError: when there is no such model, or it cannot be read.
    """
    from ..apply.patch import refuse_unsuitable
    from ..errors import LineageError, MisfitError
    from ..hub_search.declared_base import DeclaredBase

    model = DeclaredBase(receiver, token).load()
    try:
        similarity = refuse_unsuitable(vector, model)
    except (MisfitError, LineageError) as error:
        why = str(error)
        return {"model": receiver, "fits": False, "reason": why, "similarity": None, "verdict": f"does not fit: {why}"}
    how = "its base is unknown: the vector has no base fingerprint"
    if similarity is not None:
        how = f"similarity {similarity:.3f} to the vector's base"
    return {
        "model": receiver, "fits": True, "reason": None, "similarity": similarity, "verdict": f"fits ({how})"
    }  # fmt: skip


def shown(facts: dict[str, Any]) -> list[list[str]]:
    """The facts as lines of a table."""
    plain = {key: value for key, value in facts.items() if key not in ("vector", "hub", "evidence")}
    lines = {**plain, **(facts["hub"] or {}), **_measured(facts["evidence"])}
    return [[printable(key), printable(_text(value), MAX_VALUE)] for key, value in lines.items()]


def _measured(evidence: dict[str, Any] | None) -> dict[str, str]:
    from ..hub.cards.markdown import points

    if evidence is None:
        return {"measured": "not yet, or its card does not say"}
    control = evidence["control_gain"]
    return {
        "mean gain": f"{points(evidence['mean_gain'])} points over plain rounding, in {evidence['pairs']} comparisons",
        "win rate": f"{evidence['wins']} of {evidence['pairs']}",
        "random vector": "not measured" if control is None else f"{points(control)} points",
        "worst": f"{points(evidence['worst_gain'])} points, {evidence['worst_receiver']}",
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items()) or "–"
    if isinstance(value, list):
        return ", ".join(f"{s['weight']:g} × {s['repo_id'] or 'a local vector'}" for s in value) or "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "–" if value is None else f"{value:,}" if type(value) is int else str(value)
