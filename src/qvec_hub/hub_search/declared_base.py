"""The base that a receiver names itself: in its card, its config or its own name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from transformers import PreTrainedModel

from ..artifact.config import CARD_FILE, MAX_CARD_BYTES
from ..backbone.checkpoint import load_classifier, load_config
from ..backbone.provenance import known_origin
from ..errors import ArtifactError, HubError
from ..hub.cards.front_matter import hub_id, read_card
from ..hub.cards.values import strings
from ..hub.transfer.repo_path import RepoPath, find_source
from .fetch import fetch

__all__ = ["DeclaredBase", "Model"]

MAX_CONFIG_BYTES = 16 << 20  # configs name every class
CONFIG_KEYS = ("_name_or_path", "base_model_name_or_path")

Model = str | Path | PreTrainedModel


class DeclaredBase:
    """A receiver: a folder, ``"org/name[@revision]"``, ``"hf://org/name[@revision]/subfolder"`` or a model.

    Raises:
        ArtifactError: when there is no such folder, or no model in it.
        HubError: when the Hub refuses it or is not reached.
    """

    def __init__(self, receiver: Model, token: str | bool | None) -> None:
        self._receiver, self._token = receiver, token
        self.name = type(receiver).__name__ if isinstance(receiver, PreTrainedModel) else str(receiver)
        found = _place(receiver) if isinstance(receiver, PreTrainedModel) else find_source(receiver)
        self.folder = found if isinstance(found, Path) else None
        self.place = found if isinstance(found, RepoPath) else None

    def named_bases(self) -> list[tuple[str, str]]:
        """Bases that the card and the config name, then the receiver's own name: each with where it is named."""
        named_bases = [(base, "its card") for base in strings(self._card().get("base_model"))]
        config = self._config()
        named_bases += [(base, "its config") for key in CONFIG_KEYS for base in strings(config.get(key))]
        own = self.place.repo_id if self.place else self._called()
        named_bases = [(base, said) for base, said in named_bases if hub_id(base) and base != own]
        return named_bases + ([(own, "its own name")] if own else [])

    def load(self) -> PreTrainedModel:
        """The model, with its weights."""
        if isinstance(self._receiver, PreTrainedModel):
            return self._receiver
        return load_classifier(self._receiver, head_required=False, token=self._token)

    def _called(self) -> str | None:
        """The repo id that a model in memory was loaded by; None if that was a path."""
        return hub_id(self._receiver.config._name_or_path) if isinstance(self._receiver, PreTrainedModel) else None

    def _card(self) -> dict[str, Any]:
        text = self._text(CARD_FILE, MAX_CARD_BYTES)
        try:
            return read_card(text or "")[0]
        except ArtifactError:
            return {}  # a broken card is ignored; the weights will tell

    def _config(self) -> dict[str, Any]:
        # transformers' config object does not keep the file's _name_or_path: it holds where it was loaded from.
        text = self._text("config.json", MAX_CONFIG_BYTES)
        try:
            values = json.loads(text or "")
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            if isinstance(self._receiver, PreTrainedModel):
                return {}
            load_config(self._receiver, token=self._token)  # says what is wrong in most cases
            raise ArtifactError(f"{self.name}: expected a JSON object in its config.json; pass a transformers model")
        return values

    def _text(self, name: str, limit: int) -> str | None:
        """Read a small file of the receiver; None when it has no such file or it is larger than `limit` bytes."""
        try:
            path = self.folder / name if self.folder else self._fetched(name, limit)
            if path is None or path.stat().st_size > limit:
                return None
            return path.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ArtifactError(f"{self.name}: {name} cannot be read ({error.strerror})") from error

    def _fetched(self, name: str, limit: int) -> Path | None:
        if self.place is None:
            return None
        try:
            return fetch(self.place, name, self._token, limit)
        except ArtifactError:
            return None
        except HubError as error:
            # A model in memory may come from a repository that is gone; any other receiver must be there.
            if isinstance(self._receiver, PreTrainedModel) or _is_absent(error.__cause__):
                return None
            raise HubError(f"{self.name}: {error}") from error.__cause__


def _is_absent(error: BaseException | None) -> bool:
    """Whether the repository exists without this file; the child class means that the Hub was not reached."""
    return isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError)


def _place(model: PreTrainedModel) -> RepoPath | None:
    known = known_origin(model)
    return RepoPath(known.repo_id, known.revision, known.subfolder) if known.repo_id else None
