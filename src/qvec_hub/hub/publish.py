"""Publishing a vector, or a model quantized with one: files and card, in one commit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import CommitInfo, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from transformers import PreTrainedModel

from ..artifact import CARD_FILE, CONFIG_FILE, INDEX_FILE, LINEAGE_FILE, VectorConfig
from ..bench import Evidence, Row, evidence
from ..errors import ArtifactError, MisfitError
from ..lineage import MIN_SIMILARITY, similarity
from ..remote import LIBRARY, Place, hub_api, hub_errors, parse_place
from ..tensor_files import read_lineage
from ..vector import QuantizationVector
from .card import combine_cards, tensor_bytes, vector_card
from .commit import Destination, commit, open_destination
from .model_card import model_card

__all__ = ["push_model", "push_vector"]

MODEL_FILES = ("config.json", "model.safetensors", "pytorch_model.bin")


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
        card: an existing card; its hand-written parts are kept, beside those of the card in the repository.
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
        folder = Path(scratch) / place.repo_id.split("/")[-1]
        vector.save_pretrained(folder)
        config = VectorConfig.read(folder / CONFIG_FILE)
        there = open_destination(api, place, private, create_pr)
        if not replace:
            _refuse_replacement(there, vector, token)
        written = _evidence(config, there.place.repo_id, rows)
        existing = combine_cards(_remote_card(there, token), card or "")
        text = vector_card(
            config, there.place.repo_id, tensor_bytes(folder), written, license=license, existing=existing
        )
        (folder / CARD_FILE).write_text(text, encoding="utf-8")
        files: dict[str, Path | bytes] = {there.place.inside(path.name): path for path in sorted(folder.iterdir())}
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
) -> CommitInfo:
    """Publish a quantized model with its card: the arguments of transformers' ``push_to_hub``, in one commit.

    Raises:
        HubError: when the Hub refuses or the connection breaks; the repository is then as it was.
    """
    place = parse_place(repo_id, revision)
    api = hub_api(token)
    with tempfile.TemporaryDirectory(prefix="qvec-push-") as scratch:
        model.save_pretrained(scratch, max_shard_size=max_shard_size)
        there = open_destination(api, place, private, create_pr)
        text = model_card(model.config, there.place.repo_id, tags=tags, existing=_remote_card(there, token))
        (Path(scratch) / CARD_FILE).write_text(text, encoding="utf-8")
        files: dict[str, Path | bytes] = {path.name: path for path in sorted(Path(scratch).iterdir())}
        stale = [path for path in there.files if _is_weights(path) and path not in files]
        message = commit_message or "Upload quantized model"
        if commit_description:
            message += f"\n\n{commit_description}"
        return commit(api, there, files, message, stale=stale, create_pr=create_pr)


def _evidence(config: VectorConfig, repo_id: str, rows: Iterable[Row] | None) -> Evidence | None:
    if rows is None:
        return None
    own = [name for name in (config.donor.task, config.donor.dataset, config.donor.finetuned.repo_id) if name]
    found = evidence(rows, repo_id, own_tasks=own)
    if found is None:
        raise ArtifactError(
            f"rows: none measures {repo_id} alone on another task; expected rows of method 'qvec' with this single "
            "donor at scale_policy 'recommended' or 'unit', and the 'ptq' rows they compare with"
        )
    return found


def _refuse_replacement(there: Destination, vector: QuantizationVector, token: str | bool | None) -> None:
    """Raise when the push would put a vector in the place of something that is none of its kind."""
    place = there.place
    advice = "nothing was uploaded; choose another repository, or insist with replace=True (--replace)"
    models = [path for path in there.files if path in map(place.inside, MODEL_FILES)]
    if models:
        raise MisfitError(
            f"{place}: holds a model ({', '.join(models)}), whose card a vector's would replace; {advice}, or put the "
            "vector into a subfolder of it"
        )
    old = _remote_config(there, token)
    if old is None:
        return
    similar = _similarity(there, vector, token)
    for what, theirs, ours in [
        ("base", old.base_model.repo_id, vector.config.base_model.repo_id),
        ("architecture", (old.model_type, old.architecture), (vector.config.model_type, vector.config.architecture)),
    ]:
        if theirs != ours:
            raise MisfitError(f"{place}: holds a vector of {what} {theirs}, this one is of {ours}; {advice}")
    if similar is not None and similar < MIN_SIMILARITY:
        raise MisfitError(
            f"{place}: holds a vector of another base: similarity {similar:.3f} of the two bases' weights, expected at "
            f"least {MIN_SIMILARITY}; {advice}"
        )


def _remote_config(there: Destination, token: str | bool | None) -> VectorConfig | None:
    path = _remote_file(there, CONFIG_FILE, token)
    try:
        return VectorConfig.read(path) if path else None
    except ArtifactError:
        return None  # a broken vector is no loss


def _similarity(there: Destination, vector: QuantizationVector, token: str | bool | None) -> float | None:
    """Of the bases of two vectors, where both have a sketch."""
    path = _remote_file(there, LINEAGE_FILE, token)
    if path is None or not vector.lineage:
        return None
    try:
        return similarity(read_lineage(path, None) or {}, vector.lineage)
    except ArtifactError:
        return None


def _remote_file(there: Destination, name: str, token: str | bool | None) -> Path | None:
    """A small file of the repository as we looked at it; None when there is none."""
    path = there.place.inside(name)
    if there.head is None or path not in there.files:
        return None
    with hub_errors(there.place, f"its {name} could not be read", "nothing was uploaded"):
        try:
            return Path(hf_hub_download(there.place.repo_id, path, revision=there.head, token=token, **LIBRARY))
        except EntryNotFoundError:
            return None


def _remote_card(there: Destination, token: str | bool | None) -> str:
    path = _remote_file(there, CARD_FILE, token)
    return path.read_text(encoding="utf-8", errors="replace") if path else ""


def _is_ours(place: Place, path: str) -> bool:
    """Whether a file in the repository is part of the vector that is replaced."""
    inner = path.removeprefix(f"{place.subfolder}/") if place.subfolder else path
    return inner in (INDEX_FILE, LINEAGE_FILE) or (
        inner.startswith("qvec") and inner.endswith(".safetensors") and "/" not in inner
    )


def _is_weights(path: str) -> bool:
    return "/" not in path and path.startswith("model") and path.endswith((".safetensors", ".safetensors.index.json"))
