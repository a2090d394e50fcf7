"""The content of a repository before a push, and whether the push may replace it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from torch import Tensor

from ...artifact.config import (
    CARD_FILE,
    CONFIG_FILE,
    FORMAT_VERSION,
    LINEAGE_FILE,
    MAX_CARD_BYTES,
    MAX_CONFIG_BYTES,
    VectorConfig,
)
from ...artifact.lineage import MIN_SIMILARITY, similarity
from ...artifact.tensor_files import MAX_LINEAGE_BYTES, read_lineage
from ...errors import ArtifactError, HubError, MisfitError
from ..transfer.client import hub_errors
from ..transfer.commit import UNTOUCHED, Destination, same_content

__all__ = ["ExistingRepo"]

MODEL_FILES = ("config.json", "model.safetensors", "pytorch_model.bin")
_ADVICE = f"{UNTOUCHED}; choose another repository, or insist with replace=True (--replace)"


class ExistingRepo:
    """The small files of an existing repository, fetched when needed into `scratch`, not from the cache."""

    def __init__(self, api: HfApi, there: Destination, scratch: Path) -> None:
        self.api, self.there, self.scratch = api, there, scratch

    def card(self) -> str:
        """Text of the repository's card; empty without one."""
        path = self._fetch(CARD_FILE, MAX_CARD_BYTES)
        return path.read_text(encoding="utf-8", errors="replace") if path else ""

    def refuse_vector(self) -> None:
        """Raise MisfitError when the repository holds a vector."""
        if self.there.place.inside(CONFIG_FILE) in self.there.files:
            raise MisfitError(
                f"{self.there.place}: holds a quantization vector, whose card a model's would replace; {_ADVICE}"
            )

    def refuse_other_kind(self, config: VectorConfig, lineage: Mapping[str, Tensor] | None) -> None:
        """Raise MisfitError when the repository holds a model, or a vector of another base or architecture."""
        place = self.there.place
        models = [path for path in self.there.files if path in map(place.inside, MODEL_FILES)]
        if models:
            raise MisfitError(
                f"{place}: holds a model ({', '.join(models)}), whose card a vector's would replace; {_ADVICE}, or put "
                "the vector into a subfolder of it"
            )
        old = self.config()
        if old is None:
            return
        theirs, ours = ((each.model_type, each.architecture) for each in (old, config))
        if theirs != ours:
            raise MisfitError(f"{place}: holds a vector of architecture {theirs}, this one is of {ours}; {_ADVICE}")
        similar = self._similarity(lineage)
        if similar is not None and similar < MIN_SIMILARITY:
            raise MisfitError(
                f"{place}: holds a vector of another base: similarity {similar:.3f} of the two bases' weights, "
                f"expected at least {MIN_SIMILARITY}; {_ADVICE}"
            )
        bases = old.base_model.repo_id, config.base_model.repo_id
        if bases[0] != bases[1] and (all(bases) or similar is None):  # an unknown name is no other base
            raise MisfitError(
                f"{place}: holds a vector of base {bases[0] or 'unknown'}, this one is of {bases[1] or 'unknown'}; "
                f"{_ADVICE}"
            )

    def config(self) -> VectorConfig | None:
        """The config of the repository's vector; None without one or if it is broken."""
        path = self._fetch(CONFIG_FILE, MAX_CONFIG_BYTES)
        if path is None:
            return None
        try:
            return VectorConfig.read(path)
        except ArtifactError as error:
            if _is_newer(path):
                raise MisfitError(
                    f"{self.there.place}: holds a vector of a newer format ({error}); {_ADVICE}"
                ) from error
            return None

    def _similarity(self, lineage: Mapping[str, Tensor] | None) -> float | None:
        """Similarity of the two vectors' bases; None unless both have a base fingerprint."""
        if not lineage:
            return None
        path = self._fetch(LINEAGE_FILE, MAX_LINEAGE_BYTES)
        try:
            return similarity(read_lineage(path, None) or {}, lineage) if path else None
        except ArtifactError:
            return None

    def _fetch(self, name: str, limit: int) -> Path | None:
        """A small file as it was when we looked; None when there was none."""
        place, path = self.there.place, self.there.place.inside(name)
        stored = self.there.files.get(path)
        if stored is None:
            return None
        if stored.size > limit:
            raise HubError(f"{place}: its {name} has {stored.size:,} bytes, expected at most {limit:,}; {_ADVICE}")
        # Without force the client would copy the file from its cache, where it may have been damaged.
        options: dict[str, Any] = {"local_dir": self.scratch, "force_download": True}
        with hub_errors(place, f"its {name} could not be read", UNTOUCHED):
            local = Path(self.api.hf_hub_download(place.repo_id, path, revision=self.there.head, **options))
        if not same_content(local, stored):
            raise HubError(f"{place}: its {name} arrived corrupted; {UNTOUCHED}; try again")
        return local


def _is_newer(path: Path) -> bool:
    try:
        version = json.loads(path.read_bytes())["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return isinstance(version, int) and version > FORMAT_VERSION
