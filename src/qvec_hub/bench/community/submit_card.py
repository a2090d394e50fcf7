"""Results on a vector's own repository: its card's text and metadata, and ``.eval_results/qvec.yaml``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from huggingface_hub import CommitInfo, EvalResultEntry, constants, eval_result_entries_to_yaml
from huggingface_hub.utils import yaml_dump

from ...artifact.config import CARD_FILE, IMAGES_FILE, VectorConfig
from ...artifact.tensor_files import is_shard
from ...errors import HubError
from ...hub.cards.front_matter import hub_id
from ...hub.cards.model_index import TASK
from ...hub.cards.vector_card import vector_card
from ...hub.publish.overwrite import ExistingRepo
from ...hub.publish.push import evidence_for, expect_evidence
from ...hub.transfer.client import hub_api
from ...hub.transfer.commit import UNTOUCHED, Destination, commit, find_destination
from ...hub.transfer.repo_path import parse_place
from ...results.evidence import Pair
from ...results.row import Row

__all__ = ["RESULTS_FILE", "entries", "submit_results"]

RESULTS_FILE = f"{constants.EVAL_RESULTS_FOLDER}/qvec.yaml"
MAX_PAIRS = 20  # listed in the notes of one entry


def submit_results(
    vector_repo: str,
    rows: Iterable[Row],
    *,
    results_repo: str | None = None,
    token: str | bool | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
) -> CommitInfo:
    """Write the results of a published vector into its repository, in one commit that leaves its tensors alone.

    Its card gets the table and metadata that `push_vector` writes, and ``.eval_results/qvec.yaml`` an entry for each
    dataset that has a Hub id, see `entries`. Earlier results are replaced; what the author wrote by hand stays.

    Args:
        vector_repo: ``"org/name[@branch]"``, the donor's name in the rows; its vector must be at the root.
        results_repo: the dataset repository that has the rows, named as the entries' source.
        token: as for `huggingface_hub`.
        create_pr: open a pull request, for which no write access is needed.
        commit_message: by default the number of receivers.

    Raises:
        ArtifactError: when no row measures this vector on another task than its own.
        HubError: when there is no vector there, the Hub refuses, or the connection breaks.
    """
    place, api, rows = parse_place(vector_repo), hub_api(token), list(rows)
    if place.subfolder:
        raise HubError(f"{place}: lies in a folder, but the Hub reads results at a repository's root; {UNTOUCHED}")
    there = find_destination(api, place, folders=[None, constants.EVAL_RESULTS_FOLDER])
    with tempfile.TemporaryDirectory(prefix="qvec-results-") as scratch:
        present = ExistingRepo(api, there, Path(scratch) / "present")
        config = present.config()
        if config is None or config.tensors is None:
            raise HubError(f"{place}: holds no vector that can be read, so no results can be of it; {UNTOUCHED}")
        evidence = expect_evidence(config, place.repo_id, rows)
        card = Path(scratch) / CARD_FILE
        text = vector_card(
            config,
            place.repo_id,
            _tensor_bytes(there),
            evidence,
            existing=present.card(),
            images=IMAGES_FILE in there.files,
        )
        card.write_text(text, encoding="utf-8")
        files, stale = {CARD_FILE: card}, []
        source = f"{constants.ENDPOINT}/datasets/{results_repo}" if results_repo else None
        found = entries(config, place.repo_id, rows, source)
        if found:
            files[RESULTS_FILE] = Path(scratch) / "qvec.yaml"
            listed = yaml_dump(eval_result_entries_to_yaml(found), sort_keys=False)
            files[RESULTS_FILE].write_text(listed, encoding="utf-8")
        elif RESULTS_FILE in there.files:
            stale.append(RESULTS_FILE)
        message = commit_message or f"Results on {len({pair.receiver for pair in evidence.pairs})} receivers"
        return commit(api, there, files, message, stale=stale, create_pr=create_pr)


def entries(
    config: VectorConfig, repo_id: str, rows: Sequence[Row], source: str | None = None
) -> list[EvalResultEntry]:
    """Make an entry for each dataset and revision on which receivers were measured, in the order of the rows.

    Its value is an accuracy (0 to 1), as the format demands, not a gain: that of receivers rounded to the vector's own
    grid with this vector alone added, over all such receivers and seeds of the dataset. Its notes list the counts of
    each, with the vector and without. Results on the zoo's tasks and local datasets, which have no Hub id, and on
    other grids have no entry; the card lists them.
    """
    groups: dict[tuple[str, str | None], list[Row]] = {}
    for row in rows:
        if hub_id(row.dataset):
            groups.setdefault((row.dataset, row.dataset_revision), []).append(row)
    found = []
    for (dataset, revision), group in groups.items():
        evidence = evidence_for(config, repo_id, group)
        pairs = [pair for pair in evidence.pairs if pair.grid == config.grid] if evidence else []
        if pairs:
            found.append(_entry(dataset, revision, pairs, _date(group, repo_id), source))
    return found


def _entry(dataset: str, revision: str | None, pairs: Sequence[Pair], date: str, source: str | None) -> EvalResultEntry:
    shares = [
        f"{pair.receiver} {pair.correct['qvec']}/{pair.n} at scale {pair.scale:g} (without {pair.correct['ptq']})"
        for pair in pairs[:MAX_PAIRS]
    ]
    more = [f"{len(pairs) - MAX_PAIRS} more"] if len(pairs) > MAX_PAIRS else []
    return EvalResultEntry(
        dataset_id=dataset,
        task_id=TASK,
        value=round(sum(pair.correct["qvec"] for pair in pairs) / sum(pair.n for pair in pairs), 6),
        dataset_revision=revision,
        date=date,
        source_url=source,
        source_name="benchmark rows" if source else None,
        notes=f"Top-1 of receivers rounded to {pairs[0].grid.name} with this vector: " + ", ".join([*shares, *more]),
    )


def _date(rows: Iterable[Row], repo_id: str) -> str:
    """The time at which the last of the rows with this vector was counted, ISO 8601."""
    times = [row.created for row in rows if any(donor.repo == repo_id for donor in row.donors)]
    return max(times, key=lambda time: datetime.fromisoformat(time.replace("Z", "+00:00")))


def _tensor_bytes(there: Destination) -> int:
    return sum(stored.size for path, stored in there.files.items() if is_shard(path))
