"""List all vectors on the Hub, from the pages of its listing, without a request for each.

Cards are untrusted, so every value is checked; a value of the wrong form counts as missing, and the vector's config
supplies it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..artifact.config import CONFIG_FILE, LINEAGE_FILE
from ..artifact.schema import SUBFOLDER
from ..artifact.tensor_files import is_shard
from ..errors import HubError
from ..hub.cards.front_matter import BLOCK, TAG, hub_id
from ..hub.cards.model_index import read_evidence
from ..hub.cards.values import as_count, as_number, grid_name, short_text, strings
from ..hub.transfer.ask import get_items, get_json
from ..hub.transfer.client import hub_errors
from ..hub.transfer.repo_path import RepoPath
from ..results.evidence import Evidence
from ..util.untrusted import printable

__all__ = ["ListedVector", "list_vectors", "look_up", "summary", "vectors_in"]

EXPAND = ["cardData", "downloads", "gated", "lastModified", "likes", "private", "sha", "siblings", "tags"]
EXPAND += ["usedStorage"]
PAGE = 1000  # the most the Hub gives at once
MAX_FOLDERS = 50  # of one repository that are looked into; an untrusted one may hold any number
PRIOR = 3  # receivers without gain that every donor is credited with, so that one lucky number does not lead


@dataclass(frozen=True)
class ListedVector:
    """One vector as the Hub's listing describes it; None is unknown.

    Attributes:
        subfolder: its folder in the repository; None for the root.
        revision: the commit the listing saw.
        base_model: the base's repo id; None also for a base that was never published.
        of_base: whether it was made from the base itself and belongs to no task: a base donor's.
        grid: a grid's full name.
        size: bytes of the tensor files.
        gated: only users with the owner's permission can read the files; the values here are public.
        lineage: whether there is a base fingerprint.
        evidence: results that its card reports.
        told: whether the card states what a search needs: the base, if it is published, and the grid.
        verified: whether its config was opened and agrees with the card.
        broken: why it cannot be used; None if it can.
        unreachable: whether it is `broken` only because its config could not be fetched.
    """

    repo_id: str
    subfolder: str | None = None
    revision: str | None = None
    task: str | None = None
    dataset: str | None = None
    base_model: str | None = None
    of_base: bool = False
    grid: str | None = None
    scale: float | None = None
    parameters: int | None = None
    size: int | None = None
    downloads: int = 0
    likes: int = 0
    last_modified: str | None = None
    license: str | None = None
    private: bool = False
    gated: bool = False
    lineage: bool | None = None
    evidence: Evidence | None = None
    told: bool = False
    verified: bool = False
    broken: str | None = None
    unreachable: bool = False

    @property
    def name(self) -> str:
        """What `QuantizationVector.from_pretrained` takes."""
        return f"hf://{self.repo_id}/{self.subfolder}" if self.subfolder else self.repo_id

    @property
    def place(self) -> RepoPath:
        """Its path on the Hub, at the commit the listing saw."""
        return RepoPath(self.repo_id, self.revision, self.subfolder)

    @property
    def bits(self) -> int | None:
        """Width of its grid's codes; None for an unknown grid."""
        found = re.match(r"int(\d+)", self.grid or "")
        return int(found[1]) if found else None

    @property
    def score(self) -> float:
        """Reported mean gain times n / (n + 3) for n receivers, a share from -1 to 1; 0 without evidence."""
        if self.evidence is None:
            return 0.0
        receivers = len({pair.receiver for pair in self.evidence.pairs})
        return self.evidence.mean_gain * receivers / (receivers + PRIOR)

    def to_dict(self) -> dict[str, Any]:
        """All fields for ``--json``, the evidence as its summary; gains are shares from -1 to 1, not points."""
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "evidence"}
        return {"vector": self.name, **plain, "bits": self.bits, **summary(self.evidence), "score": self.score}


def summary(evidence: Evidence | None) -> dict[str, Any]:
    """Summarize evidence in a few numbers; gains are shares from -1 to 1, None if not measured."""
    control = evidence.control if evidence else None
    worst = evidence.worst if evidence else None
    return {
        "mean_gain": evidence.mean_gain if evidence else None,
        "win_rate": evidence.win_rate if evidence else None,
        "wins": evidence.wins if evidence else 0,
        "pairs": evidence.n_pairs if evidence else 0,
        "receivers": len({pair.receiver for pair in evidence.pairs}) if evidence else 0,
        "control_gain": control.value if control else None,
        "control_pairs": control.n_pairs if control else 0,
        "worst_gain": worst.gain if worst else None,
        "worst_receiver": worst.receiver if worst else None,
    }


def list_vectors(token: str | bool | None = None) -> Iterator[ListedVector]:
    """Yield every vector of the tagged repositories, page by page.

    Raises:
        HubError: when the listing cannot be read.
    """
    params = {"filter": [TAG], "expand": EXPAND, "limit": PAGE}
    seen: set[str] = set()  # a repository that changes meanwhile can come twice
    with hub_errors("the list of vectors", "could not be fetched from the Hub"):
        for item in get_items("models", params, token):
            if not isinstance(item, Mapping) or not isinstance(item.get("id"), str):
                raise HubError(
                    "the list of vectors: the Hub's answer is no list of repositories (found "
                    f"{printable(repr(item), 60)}); check HF_ENDPOINT, or try again later"
                )
            if item["id"] not in seen:
                seen.add(item["id"])
                yield from vectors_in(item)


def look_up(place: RepoPath, token: str | bool | None = None) -> ListedVector:
    """Look up one vector's repository on the Hub.

    Raises:
        HubError: when the Hub refuses or is not reached, or holds no vector there.
    """
    path = f"models/{place.repo_id}" + (f"/revision/{place.revision}" if place.revision else "")
    item = get_json(place, path, {"expand": EXPAND}, token)
    item = {**(item if isinstance(item, Mapping) else {}), "id": place.repo_id}
    found = [vector for vector in vectors_in(item) if vector.subfolder == place.subfolder]
    if not found:
        raise HubError(f"{place}: the Hub lists no vector there")
    return found[0]


def vectors_in(item: Mapping[str, Any]) -> Iterator[ListedVector]:
    """Yield the vectors of one entry of the listing: at the repository's root and in its folders."""
    whole = ListedVector(
        repo_id=item["id"],
        revision=short_text(item.get("sha")),
        downloads=as_count(item.get("downloads")) or 0,
        likes=as_count(item.get("likes")) or 0,
        last_modified=short_text(item.get("lastModified")),
        private=item.get("private") is True,
        gated=bool(item.get("gated")),
    )
    if not hub_id(whole.repo_id):
        yield replace(whole, broken="its name is none the Hub gives, expected 'org/name'")
        return
    files = _files(item)
    at_root = _from_card(whole, item)
    if files is None:
        yield at_root
        return
    folders = _folders(files)
    for folder in folders:
        # The card at the root describes the vector at the root; that of a folder is not in the listing.
        start = at_root if folder is None else replace(whole, subfolder=folder)
        below = f"{folder}/" if folder else ""
        names = {file.removeprefix(below) for file in files if file.startswith(below)}
        tensors = any(is_shard(name) for name in names)
        broken = None if tensors else "holds no tensors; its upload was never finished"
        yield replace(start, lineage=LINEAGE_FILE in names, broken=broken)
    if not folders:
        yield replace(at_root, broken=f"holds no {CONFIG_FILE}")


def _from_card(listed: ListedVector, item: Mapping[str, Any]) -> ListedVector:
    """Add the card's valid values to a listed vector."""
    card = item.get("cardData")
    card = card if isinstance(card, Mapping) else {}
    block = card.get(BLOCK)
    block = block if isinstance(block, Mapping) else {}
    said: dict[str, Any] = {
        "task": short_text(block.get("task")),
        "grid": grid_name(block.get("grid")),
        "scale": as_number(block.get("scale")),
        "parameters": as_count(block.get("parameters")),
        "size": as_count(block.get("bytes")),
    }
    tags = strings(card.get("tags")) + strings(item.get("tags"))
    named = strings(card.get("base_model")) or [tag.split(":")[-1] for tag in tags if tag.startswith("base_model:")]
    bases = [name for name in named if hub_id(name)]
    said["of_base"] = block.get("of_base") is True
    told = all(said[key] is not None for key in said if key not in ("task", "of_base"))
    told &= (block.get("task") is None) == (said["task"] is None)
    told &= (card.get("base_model") is None) == (not bases)
    said["grid"] = said["grid"] or next((name for tag in tags if "-" in tag and (name := grid_name(tag))), None)
    said["size"] = said["size"] or as_count(item.get("usedStorage"))
    return replace(
        listed,
        **said,
        dataset=next(iter(strings(card.get("datasets"))), None),
        base_model=bases[0] if bases else None,
        license=next(iter(strings(card.get("license"))), None),
        evidence=read_evidence(card, listed.repo_id),
        told=told or (bool(bases) and said["grid"] is not None),
    )


def _files(item: Mapping[str, Any]) -> set[str] | None:
    siblings = item.get("siblings")
    if not isinstance(siblings, list):
        return None
    names = [entry.get("rfilename") for entry in siblings if isinstance(entry, Mapping)]
    return {name for name in names if isinstance(name, str)}


def _folders(files: set[str]) -> list[str | None]:
    """The folders that hold a vector's config; None is the root."""
    inner = sorted(file.removesuffix(f"/{CONFIG_FILE}") for file in files if file.endswith(f"/{CONFIG_FILE}"))
    named: list[str | None] = [folder for folder in inner if short_text(folder) and SUBFOLDER.accepts(folder)]
    return ([None] if CONFIG_FILE in files else []) + named[:MAX_FOLDERS]
