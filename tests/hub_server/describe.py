"""What the Hub tells about a repository at a commit: the properties of its info and of listings."""

from __future__ import annotations

import datetime
import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from . import cards
from .errors import bad_request
from .objects import Commit, Entry, pointer
from .store import Repo, Store

MAX_HEADER_BYTES = 100 << 20
_CONFIG_KEYS = ("architectures", "model_type", "quantization_config", "auto_map")
_EVAL_FOLDER = ".eval_results/"


def iso(seconds: float) -> str:
    """A time as the Hub writes it: UTC, milliseconds, and a Z."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


@dataclass(frozen=True)
class Summary:
    """What listings need of a commit's files, read once a commit."""

    card: dict[str, Any] | None
    config: dict[str, Any] | None
    library_name: str | None
    pipeline_tag: str | None
    tags: list[str]


class Summaries:
    """The summaries of commits, kept in memory."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._known: dict[tuple[str, str], Summary] = {}

    def of(self, repo: Repo, commit: Commit) -> Summary:
        key = (repo.kind, commit.oid)
        if key not in self._known:
            self._known[key] = self._read(repo.kind, commit.files)
        return self._known[key]

    def _read(self, kind: str, files: Mapping[str, Entry]) -> Summary:
        readme = self.store.read(files["README.md"]) if "README.md" in files else b""
        card, config = cards.read_card(readme), self._config(files)
        if kind == "dataset":
            return Summary(card, None, None, None, cards.dataset_tags(card or {}, files))
        tags = cards.model_tags(card or {}, files, config, readme)
        pipeline = (card or {}).get("pipeline_tag")
        library = cards.library(card or {}, config)
        return Summary(card, config, library, pipeline if isinstance(pipeline, str) else None, tags)

    def _config(self, files: Mapping[str, Entry]) -> dict[str, Any] | None:
        if "config.json" not in files:
            return None
        try:
            config = json.loads(self.store.read(files["config.json"]))
        except ValueError:
            return None
        return {key: config[key] for key in _CONFIG_KEYS if key in config} if isinstance(config, dict) else None


class View:
    """A repository at a commit, as the properties below look at it."""

    def __init__(self, store: Store, summaries: Summaries, repo: Repo, commit: Commit, blobs: bool = False) -> None:
        self.store, self.repo, self.commit, self.blobs = store, repo, commit, blobs
        self._summaries = summaries

    @cached_property
    def summary(self) -> Summary:
        return self._summaries.of(self.repo, self.commit)

    @property
    def card(self) -> dict[str, Any]:
        return self.summary.card or {}

    def properties(self, names: list[str]) -> dict[str, Any]:
        """The named properties, always with the id; those without a value are left out.

        Raises:
            HubError: for a name the Hub does not know.
        """
        unknown = [name for name in names if name not in PROPERTIES]
        if unknown:
            raise bad_request(f'"expand" with value {unknown[0]!r} is not one of {", ".join(sorted(PROPERTIES))}')
        values = {name: PROPERTIES[name](self) for name in names}
        identity = hashlib.sha1(f"{self.repo.kind} {self.repo.id}".encode()).hexdigest()[:24]
        found = {"_id": identity, "id": self.repo.id}
        found |= {"modelId": self.repo.id} if self.repo.kind == "model" else {}
        return found | {name: value for name, value in values.items() if value is not None}

    def siblings(self) -> list[dict[str, Any]]:
        if not self.blobs:
            return [{"rfilename": path} for path in self.commit.files]
        return [{"rfilename": path, **self._blob(entry)} for path, entry in self.commit.files.items()]

    def _blob(self, entry: Entry) -> dict[str, Any]:
        found: dict[str, Any] = {"blobId": entry.oid, "size": entry.size}
        if entry.lfs:
            size = len(pointer(entry.sha256, entry.size))
            found["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": size}
        return found

    def used_storage(self) -> int:
        """Bytes of all different contents that some ref reaches directly."""
        commits = [self.store.commit(self.repo, oid) for oid in set(self.repo.refs.values())]
        return sum({entry.sha256: entry.size for commit in commits for entry in commit.files.values()}.values())

    def eval_results(self) -> list[dict[str, Any]] | None:
        """One item a result of ``.eval_results/*.yaml``; a file that cannot be read is an item with an error."""
        found: list[dict[str, Any]] = []
        for path, entry in self.commit.files.items():
            if not (path.startswith(_EVAL_FOLDER) and path.endswith((".yaml", ".yml"))):
                continue
            try:
                results = cards.parse(self.store.read(entry).decode())
                found += [{"filename": path, "verified": False, "data": _eval_result(each)} for each in results]
            except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
                found.append({"filename": path, "error": f"{type(error).__name__}: {error}"})
        return found or None

    def safetensors(self) -> dict[str, Any] | None:
        """Numbers of parameters by type, from the headers of the safetensors files at the root."""
        counts: dict[str, int] = {}
        for path, entry in self.commit.files.items():
            if "/" not in path and path.endswith(".safetensors"):
                for dtype, number in _parameters(self.store, entry).items():
                    counts[dtype] = counts.get(dtype, 0) + number
        return {"parameters": counts, "total": sum(counts.values())} if counts else None


def _eval_result(value: Any) -> dict[str, Any]:
    """One entry of an evaluation file.

    Raises:
        KeyError, TypeError: when it lacks what every entry has.
    """
    dataset = {key: value["dataset"][key] for key in ("id", "task_id")}
    return {**value, "dataset": {**value["dataset"], **dataset}, "value": value["value"]}


def _parameters(store: Store, entry: Entry) -> dict[str, int]:
    counts: dict[str, int] = {}
    with store.blob(entry.sha256).open("rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length < MAX_HEADER_BYTES else {}
            for name, tensor in header.items():
                if name != "__metadata__":
                    number = 1
                    for side in tensor["shape"]:
                        number *= side
                    counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + number
        except (struct.error, ValueError, KeyError, TypeError, AttributeError):
            return {}
    return counts


PROPERTIES: dict[str, Callable[[View], Any]] = {
    "author": lambda view: view.repo.id.split("/")[0],
    "baseModels": lambda view: cards.strings(view.card.get("base_model")) or None,
    "cardData": lambda view: view.summary.card,
    "config": lambda view: view.summary.config,
    "createdAt": lambda view: iso(view.repo.created),
    "description": lambda view: view.card.get("pretty_name"),
    "disabled": lambda view: False,
    "downloads": lambda view: view.repo.downloads,
    "downloadsAllTime": lambda view: view.repo.downloads,
    "evalResults": View.eval_results,
    "gated": lambda view: view.repo.gated,
    "lastModified": lambda view: iso(view.commit.date),
    "library_name": lambda view: view.summary.library_name,
    "likes": lambda view: view.repo.likes,
    "mainSize": lambda view: sum(entry.size for entry in view.commit.files.values()),
    "model-index": lambda view: view.card.get("model-index"),
    "pipeline_tag": lambda view: view.summary.pipeline_tag,
    "private": lambda view: view.repo.private,
    "safetensors": View.safetensors,
    "sha": lambda view: view.commit.oid,
    "siblings": View.siblings,
    "spaces": lambda view: [],
    "tags": lambda view: view.summary.tags,
    "trendingScore": lambda view: 0,
    "usedStorage": View.used_storage,
    # What this hub has none of, but the client may ask for.
    **dict.fromkeys(
        ("childrenModelCount", "citation", "gguf", "inference", "inferenceProviderMapping", "mask_token"),
        lambda view: None,
    ),
    **dict.fromkeys(("paperswithcode_id", "resourceGroup", "transformersInfo", "widgetData"), lambda view: None),
}
