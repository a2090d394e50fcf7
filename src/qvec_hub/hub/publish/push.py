"""Publishing a vector, or a model quantized with one: files and card, in one commit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo
from transformers import PreTrainedModel

from ...artifact.config import CARD_FILE, CONFIG_FILE, IMAGES_FILE, INDEX_FILE, LINEAGE_FILE, VectorConfig
from ...artifact.tensor_files import is_shard
from ...errors import ArtifactError
from ...results.evidence import Evidence, evidence
from ...results.row import Row
from ...vector.vector import QuantizationVector
from ..cards.model_card import model_card
from ..cards.vector_card import combine_cards, has_images, tensor_bytes, vector_card
from ..transfer.client import hub_api
from ..transfer.commit import commit, open_destination
from ..transfer.repo_path import Place, parse_place
from .overwrite import Present

__all__ = ["evidence_for", "expect_evidence", "push_model", "push_vector", "write_card"]


def push_vector(
    vector: QuantizationVector,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    subfolder: str | None = None,
    rows: Iterable[Row] | None = None,
    license: str | None = None,
    card: str | None = None,
    encoding: str | None = None,
    replace: bool = False,
) -> CommitInfo:
    """Publish a vector: config, tensors, lineage and card, in one commit.

    Args:
        repo_id: ``"org/name"``; created if it does not exist.
        private: create it private; refused when it exists and is public.
        revision: the branch to commit to, created if need be.
        create_pr: open a pull request instead of committing.
        subfolder: where in the repository the vector goes, if not at its root.
        rows: benchmark rows; those of this vector on other tasks make the card's table. None keeps what the card
            in the repository says of the same tensors.
        license: for the card, an id such as ``apache-2.0``; None keeps what the card says.
        card: an existing card; its hand-written parts are kept, beside those of the card in the repository. None
            takes the one of the local folder that the vector was loaded from.
        encoding: how matrices are written, see `QuantizationVector.save_pretrained`.
        replace: put this vector in the place of one of another base, or beside a model's files.

    Returns:
        The commit's URL, a string with the attributes ``oid``, ``pr_url``, ….

    Raises:
        HubError: when the Hub refuses or the connection breaks; the repository is then as it was.
        MisfitError: when the repository holds a vector of another base, or a model, and `replace` is off.
    """
    place = parse_place(repo_id, revision, subfolder)
    api = hub_api(token)
    with tempfile.TemporaryDirectory(prefix="qvec-push-") as scratch:
        folder = Path(scratch) / "vector"
        vector.save_pretrained(folder, encoding=encoding)
        config = VectorConfig.read(folder / CONFIG_FILE)
        there = open_destination(api, place, private, create_pr)
        present = Present(api, there, Path(scratch) / "present")
        if not replace:
            present.refuse_other_kind(vector)
        written = None if rows is None else expect_evidence(config, there.place.repo_id, rows)
        existing = combine_cards(present.card(), vector.card() if card is None else card)
        text = vector_card(
            config,
            there.place.repo_id,
            tensor_bytes(folder),
            written,
            license=license,
            existing=existing,
            images=has_images(folder),
        )
        (folder / CARD_FILE).write_text(text, encoding="utf-8")
        files = {there.place.inside(path.name): path for path in sorted(folder.iterdir())}
        stale = [path for path in there.files if _is_ours(there.place, path) and path not in files]
        message = commit_message or f"Upload quantization vector ({config.grid.name})"
        return commit(api, there, files, message, stale=stale, create_pr=create_pr)


def push_model(
    model: PreTrainedModel,
    repo_id: str,
    *,
    commit_message: str | None = None,
    commit_description: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    max_shard_size: int | str = "50GB",
    tags: list[str] | None = None,
    replace: bool = False,
    extra: Sequence[Path] = (),
    card: str = "",
) -> CommitInfo:
    """Publish a quantized model with its card: the arguments of transformers' ``push_to_hub``, in one commit.

    Args:
        replace: put the model beside a vector, whose card its own then replaces.
        extra: more files for the repository's root, such as the image processor's config.
        card: a card whose hand-written parts are kept, beside those of the card in the repository.

    Raises:
        HubError: when the Hub refuses or the connection breaks; the repository is then as it was.
        MisfitError: when the repository holds a vector and `replace` is off.
    """
    place = parse_place(repo_id, revision)
    api = hub_api(token)
    with tempfile.TemporaryDirectory(prefix="qvec-push-") as scratch:
        folder = Path(scratch) / "model"
        model.save_pretrained(folder, max_shard_size=max_shard_size)
        there = open_destination(api, place, private, create_pr)
        present = Present(api, there, Path(scratch) / "present")
        if not replace:
            present.refuse_vector()
        existing = combine_cards(present.card(), card)
        text = model_card(model.config, there.place.repo_id, tags=tags, existing=existing)
        (folder / CARD_FILE).write_text(text, encoding="utf-8")
        files = {path.name: path for path in [*extra, *sorted(folder.iterdir())]}
        stale = [path for path in there.files if _is_weights(path) and path not in files]
        message = commit_message or "Upload quantized model"
        return commit(api, there, files, message, description=commit_description, stale=stale, create_pr=create_pr)


def evidence_for(config: VectorConfig, repo_id: str, rows: Iterable[Row]) -> Evidence | None:
    """What rows say of a vector on other tasks than its own; None when they say nothing."""
    own = [name for name in (config.donor.task, config.donor.dataset, config.donor.finetuned.repo_id) if name]
    return evidence(rows, repo_id, own_tasks=own)


def expect_evidence(config: VectorConfig, repo_id: str, rows: Iterable[Row]) -> Evidence:
    """The same, where rows must say something.

    Raises:
        ArtifactError: when none measures the vector.
    """
    found = evidence_for(config, repo_id, rows)
    if found is None:
        raise ArtifactError(
            f"rows: none measures {repo_id} alone on another task; expected rows of method 'qvec' with this single "
            "donor at scale_policy 'recommended' or 'unit', and the 'ptq' rows they compare with"
        )
    return found


def _is_ours(place: Place, path: str) -> bool:
    """Whether a file in the repository is part of the vector that is replaced."""
    name = path.removeprefix(place.inside(""))
    return name in (IMAGES_FILE, INDEX_FILE, LINEAGE_FILE) or is_shard(name)


def _is_weights(path: str) -> bool:
    return "/" not in path and path.startswith("model") and path.endswith((".safetensors", ".safetensors.index.json"))


def write_card(folder: Any, old: Any) -> None:
    """See `qvec_hub.hub.cards.vector_card.write_card`."""
    _hub().write_card(folder, old)


def push_vector(vector: Any, repo_id: str, **options: Any) -> Any:
    """See `qvec_hub.hub.publish.push.push_vector`."""
    return _hub().push_vector(vector, repo_id, **options)


def push_model(model: Any, repo_id: str, **options: Any) -> Any:
    """See `qvec_hub.hub.publish.push.push_model`."""
    return _hub().push_model(model, repo_id, **options)


def _hub() -> Any:
    return import_module(".hub", __package__)
