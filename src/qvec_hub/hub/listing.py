"""All vectors on the Hub, from its listing: what a page of the listing tells needs no request of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from huggingface_hub.utils import build_hf_headers, paginate

from ..artifact import CARD_FILE, CONFIG_FILE, VectorConfig
from ..bench import Evidence
from ..remote import LIBRARY, hub_api, hub_errors
from .metadata import BLOCK, TAG, hub_id, is_grid_name
from .results import read_evidence

__all__ = ["Listed", "list_vectors", "listed_from_config"]

EXPAND = ["cardData", "downloads", "lastModified", "likes", "private", "sha", "siblings", "tags", "usedStorage"]
PRIOR = 3  # receivers without gain that every donor is credited with, so that one lucky number does not lead


@dataclass(frozen=True)
class Listed:
    """One vector repository as the Hub's listing describes it; None is what nobody said.

    Attributes:
        grid: a grid's full name. bits: its width. size: bytes of the tensor files.
        evidence: what its card says was measured. broken: why it cannot be used, None when nothing speaks against it.
    """

    repo_id: str
    revision: str | None = None
    task: str | None = None
    dataset: str | None = None
    base_model: str | None = None
    grid: str | None = None
    scale: float | None = None
    parameters: int | None = None
    size: int | None = None
    downloads: int = 0
    likes: int = 0
    last_modified: str | None = None
    private: bool = False
    evidence: Evidence | None = None
    broken: str | None = None

    @property
    def bits(self) -> int | None:
        found = re.match(r"int(\d+)", self.grid or "")
        return int(found[1]) if found else None

    @property
    def score(self) -> float:
        """Mean gain, shrunk towards zero by how few receivers it was measured on; 0 without evidence."""
        if self.evidence is None:
            return 0.0
        return self.evidence.mean_gain * self.evidence.n_pairs / (self.evidence.n_pairs + PRIOR)

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``: every field, the evidence as its summary."""
        values = {key: value for key, value in asdict(replace(self, evidence=None)).items() if key != "evidence"}
        found = self.evidence
        control = found.control if found else None
        return {
            **values,
            "bits": self.bits,
            "mean_gain": found.mean_gain if found else None,
            "win_rate": found.win_rate if found else None,
            "pairs": found.n_pairs if found else 0,
            "control_gain": control.value if control else None,
            "worst_gain": found.worst.gain if found else None,
            "score": self.score,
        }


def list_vectors(token: str | bool | None = None) -> Iterator[Listed]:
    """Every repository tagged as a quantization vector, page by page.

    Raises:
        HubError: when the listing cannot be read.
    """
    # The client's own `list_models` parses every card on the way and stops at the first malformed one.
    headers = build_hf_headers(token=token, **LIBRARY)
    params = {"filter": [TAG], "expand": EXPAND, "limit": 1000}
    with hub_errors("the list of vectors", "could not be fetched from the Hub"):
        for item in paginate(f"{hub_api().endpoint}/api/models", params=params, headers=headers):
            if isinstance(item, Mapping) and isinstance(item.get("id"), str):
                yield _listed(item)


def listed_from_config(listed: Listed, config: VectorConfig) -> Listed:
    """What a config says, for a repository whose card says too little."""
    assert config.tensors is not None
    return replace(
        listed,
        task=config.donor.task or listed.task,
        dataset=config.donor.dataset or listed.dataset,
        base_model=config.base_model.repo_id,
        grid=config.grid.name,
        scale=config.scale,
        parameters=config.tensors.parameters,
    )


def _listed(item: Mapping[str, Any]) -> Listed:
    """A listing's entry. A card may hold anything, so every value is looked at before it is believed."""
    card = item.get("cardData")
    card = card if isinstance(card, Mapping) else {}
    block = card.get(BLOCK)
    block = block if isinstance(block, Mapping) else {}
    tags = [tag for tag in _list(card.get("tags")) + _list(item.get("tags")) if isinstance(tag, str)]
    grids = [tag for tag in tags if "-" in tag and is_grid_name(tag)]
    bases = [name for name in _list(card.get("base_model")) if isinstance(name, str) and hub_id(name)]
    datasets = [name for name in _list(card.get("datasets")) if isinstance(name, str)]
    return Listed(
        repo_id=item["id"],
        revision=_of(str, item.get("sha")),
        task=_of(str, block.get("task")),
        dataset=datasets[0] if datasets else None,
        base_model=bases[0] if bases else None,
        grid=grids[0] if grids else None,
        scale=_of((int, float), block.get("scale")),
        parameters=_of(int, block.get("parameters")),
        size=_of(int, block.get("bytes")) or _of(int, item.get("usedStorage")),
        downloads=_of(int, item.get("downloads")) or 0,
        likes=_of(int, item.get("likes")) or 0,
        last_modified=_of(str, item.get("lastModified")),
        private=item.get("private") is True,
        evidence=read_evidence(card, item["id"]),
        broken=_missing(item),
    )


def _missing(item: Mapping[str, Any]) -> str | None:
    """What a repository lacks to be a vector, if its listing names its files."""
    siblings = item.get("siblings")
    if not isinstance(siblings, list):
        return None
    names = {entry.get("rfilename") for entry in siblings if isinstance(entry, Mapping)}
    inner = {str(name).rsplit("/", 1)[-1] for name in names}
    if CONFIG_FILE not in inner:
        return f"holds no {CONFIG_FILE}" + ("" if CARD_FILE in names else f" and no {CARD_FILE}")
    if not any(re.fullmatch(r"qvec(-\d{5}-of-\d{5})?\.safetensors", name) for name in inner):
        return "holds no tensors; its upload was never finished"
    return None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _of(kind: Any, value: Any) -> Any:
    return value if isinstance(value, kind) and not isinstance(value, bool) else None
