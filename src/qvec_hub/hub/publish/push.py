"""Publish a vector, or a model quantized with one: files and card in one commit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import CommitInfo
from transformers import PreTrainedModel

from ...artifact.config import CARD_FILE, CONFIG_FILE, IMAGES_FILE, INDEX_FILE, LINEAGE_FILE, VectorConfig
from ...artifact.tensor_files import is_shard, read_lineage
from ...errors import ArtifactError
from ...results.evidence import Evidence, evidence
from ...results.row import Row
from ..cards.model_card import model_card
from ..cards.vector_card import combine_cards, has_images, tensor_bytes, vector_card
from ..transfer.client import hub_api
from ..transfer.commit import commit, open_destination
from ..transfer.repo_path import RepoPath, parse_place
from .overwrite import ExistingRepo

__all__ = ["evidence_for", "expect_evidence", "push_model", "push_vector"]


def push_vector(
    folder: Path,
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
    card: str = "",
    replace: bool = False,
) -> CommitInfo:
    """Publish a saved vector: config, tensors, lineage and card, in one commit.

    Args:
        folder: written by `QuantizationVector.save_pretrained`, without other files. Its card is regenerated.
        repo_id: ``"org/name"``; created if it does not exist.
        private: create the repository private; refused if it exists and is public.
        revision: the branch to commit to; created if it does not exist.
        create_pr: open a pull request instead of committing.
        subfolder: folder of the repository for the vector; by default its root.
        rows: benchmark rows; those that measure this vector on other tasks fill the card's table. None keeps the
            results of the repository's card, if they are of the same tensors.
        license: an id such as ``apache-2.0`` for the card; None keeps the card's.
        card: an existing card; its hand-written parts are kept, as are those of the card in the repository.
        replace: allow replacing a vector of another base, or the card of a model in the repository.

    Returns:
        The commit's URL, a string with the attributes ``oid``, ``pr_url`` and others.

    Raises:
        HubError: when the Hub refuses or the connection breaks; the repository is then as it was.
        MisfitError: when the repository holds a vector of another base, or a model, and `replace` is off.
    """
    place = parse_place(repo_id, revision, subfolder)
    api = hub_api(token)
    with tempfile.TemporaryDirectory(prefix="qvec-push-") as scratch:
        config = VectorConfig.read(folder / CONFIG_FILE)
        there = open_destination(api, place, private, create_pr)
        present = ExistingRepo(api, there, Path(scratch))
        if not replace:
            present.refuse_other_kind(config, read_lineage(folder / LINEAGE_FILE, None))
        written = None if rows is None else expect_evidence(config, there.place.repo_id, rows)
        existing = combine_cards(present.card(), card)
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
    card: str = "",
) -> CommitInfo:
    """Publish a quantized model with its card in one commit; takes the arguments of transformers' ``push_to_hub``.

    Args:
        replace: allow replacing the card of a vector in the repository.
        card: an existing card; its hand-written parts are kept, as are those of the card in the repository.

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
        present = ExistingRepo(api, there, Path(scratch) / "present")
        if not replace:
            present.refuse_vector()
        existing = combine_cards(present.card(), card)
        text = model_card(model.config, there.place.repo_id, tags=tags, existing=existing)
        (folder / CARD_FILE).write_text(text, encoding="utf-8")
        files = {path.name: path for path in sorted(folder.iterdir())}
        stale = [path for path in there.files if _is_weights(path) and path not in files]
        message = commit_message or "Upload quantized model"
        return commit(api, there, files, message, description=commit_description, stale=stale, create_pr=create_pr)


def evidence_for(config: VectorConfig, repo_id: str, rows: Iterable[Row]) -> Evidence | None:
    """Evidence that rows give for a vector on tasks other than its own; None when no row measures it."""
    own = [name for name in (config.donor.task, config.donor.dataset, config.donor.finetuned.repo_id) if name]
    return evidence(rows, repo_id, own_tasks=own)


def expect_evidence(config: VectorConfig, repo_id: str, rows: Iterable[Row]) -> Evidence:
    """Evidence that rows give for a vector, as `evidence_for`.

    Raises:
        ArtifactError: when no row measures the vector.
    """
    found = evidence_for(config, repo_id, rows)
    if found is None:
        raise ArtifactError(
            f"rows: none measures {repo_id} alone on another task; expected rows of method 'qvec' with this single "
            "donor at scale_policy 'recommended' or 'unit', and the 'ptq' rows they compare with"
        )
    return found


def _is_ours(place: RepoPath, path: str) -> bool:
    """Whether a file in the repository is part of the vector that is replaced."""
    name = path.removeprefix(place.inside(""))
    return name in (IMAGES_FILE, INDEX_FILE, LINEAGE_FILE) or is_shard(name)


def _is_weights(path: str) -> bool:
    return "/" not in path and path.startswith("model") and path.endswith((".safetensors", ".safetensors.index.json"))
