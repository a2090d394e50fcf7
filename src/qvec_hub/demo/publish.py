"""Publish what a suite of one base, one seed and one grid trained, and what was counted with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import copyfile

from ..artifact.config import CARD_FILE, IMAGES_FILE, Revision
from ..bench.model_store import Library, donor_name, receiver_name
from ..bench.runner import ROWS_FILE
from ..bench.suite import Suite
from ..hub.transfer.client import hub_api
from ..hub.transfer.commit import commit, open_destination
from ..hub.transfer.repo_path import RepoPath
from ..results.row import DonorUse, Row
from ..results.rows import append_row
from ..util.atomic import write_text
from ..vector.vector import QuantizationVector

__all__ = ["Places", "publish", "renamed", "write_cards"]

LICENSE = "apache-2.0"

Places = Mapping[str, RepoPath]  # repository and commit by the name that rows give a model or vector


def publish(suite: Suite, library: Library, namespace: str) -> Places:
    """Publish the base, every receiver and every vector, which then name each other by Hub id.

    Args:
        namespace: a user or organization on the Hub; a repository there is called what rows call the model.

    Raises:
        ArtifactError: when a model or vector is missing or damaged.
        HubError: when the Hub refuses or the connection breaks; what was published before stays.
    """
    base, seed, grid = suite.bases[0], suite.seeds[0], suite.grids[0]
    start = _push_folder(Path(library.base(base)), f"{namespace}/{receiver_name(base, 'base')}")
    places = {}
    for task in (task.name for task in suite.tasks):
        receiver, donor = receiver_name(base, task), donor_name(base, task, grid)
        plain = library.fp(base, seed, task)
        write_text(plain / CARD_FILE, _model_card(task, start.repo_id))
        places[receiver] = _push_folder(plain, f"{namespace}/{receiver}")
        vector = QuantizationVector.from_pretrained(library.vector(base, seed, task, grid))
        about = replace(vector.config.donor, finetuned=_revision(places[receiver]))
        vector = vector.with_config(base_model=_revision(start), donor=about)
        done = vector.push_to_hub(f"{namespace}/{donor}", license=LICENSE)
        places[donor] = RepoPath(f"{namespace}/{donor}", done.oid)
    return places


def renamed(row: Row, places: Places) -> Row:
    """The row with Hub ids and commits in place of the suite's names."""
    receiver, uses = places[row.receiver], [(places[use.repo], use.weight) for use in row.donors]
    return replace(
        row,
        receiver=receiver.repo_id,
        receiver_revision=receiver.revision,
        donors=tuple(DonorUse(place.repo_id, place.revision, weight) for place, weight in uses),
    )


def write_cards(suite: Suite, places: Places, rows: Sequence[Row], out: Path) -> None:
    """Publish every vector's card again, with results.

    Args:
        rows: as `renamed` gives them.
        out: a folder for ``rows.jsonl`` with these rows and, in a folder of each task, card and contact sheet.

    Raises:
        HubError: when the Hub refuses or the connection breaks.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / ROWS_FILE).unlink(missing_ok=True)
    for row in rows:
        append_row(out / ROWS_FILE, row)
    for task in (task.name for task in suite.tasks):
        repo_id = places[donor_name(suite.bases[0], task, suite.grids[0])].repo_id
        vector = QuantizationVector.from_pretrained(repo_id)
        vector.push_to_hub(repo_id, rows=rows, license=LICENSE, commit_message="Add results")
        (out / task).mkdir(exist_ok=True)
        for name in (CARD_FILE, IMAGES_FILE) if vector.images(1) is not None else (CARD_FILE,):
            copyfile(hub_api().hf_hub_download(repo_id, name), out / task / name)


def _revision(place: RepoPath) -> Revision:
    return Revision(place.repo_id, place.revision)


def _push_folder(folder: Path, repo_id: str) -> RepoPath:
    files = {path.name: path for path in sorted(folder.iterdir())}
    there = open_destination(hub_api(), RepoPath(repo_id), None, create_pr=False)
    return RepoPath(repo_id, commit(hub_api(), there, files, "Upload model").oid)


def _model_card(task: str, base: str) -> str:
    return (
        f"---\nlicense: {LICENSE}\nlibrary_name: transformers\npipeline_tag: image-classification\n"
        f"base_model: {base}\nbase_model_relation: finetune\n---\n\n# The zoo's base, fine-tuned on {task}\n\n"
        f"A small ViT for trying out quantization vectors, trained by `qvec demo` on the task `zoo:{task}`.\n"
    )
