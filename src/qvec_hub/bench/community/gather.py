"""The rows of many results repositories as one list, checked; what is left out is named.

Whom this trusts: the owner of a results repository decides whose pull requests are merged, and so whose rows count
and that a folder bears its submitter's name; the Hub does not tie the one to the other. Anybody can tag a repository
of their own, so gathering by the tag takes the word of strangers. What is checked here is that a row can be right: its
form, its arithmetic, that its images exist and are as many as it says, and that nobody says otherwise. That somebody
counted it is not checked; for that, measure it again. A stranger who contradicts a row takes it
out of the list, with his own; name the repositories you trust to keep him out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from huggingface_hub import HfApi

from ...errors import ArtifactError, DataError, HubError
from ...hub.transfer.client import hub_api
from ...hub.transfer.repo_path import Place, parse_place
from ...results.row import Row
from ...util.untrusted import parse_json, printable
from ..context import Context, parse_context
from .check_datasets import Datasets
from .consensus import Said, agreed_context, agreed_rows
from .fetch import File, find_repositories, pinned, read_files
from .paths import ROWS
from .read_rows import Placed, Rejection, read_lines

__all__ = ["Gathered", "Rejection", "Source", "gather"]

MAX_BYTES = 128 << 20  # of all files, about 180,000 rows


@dataclass(frozen=True)
class Source:
    """A results repository, the commit it was read at, and how many of its rows stood the checks of single rows."""

    repo_id: str
    commit: str
    rows: int


@dataclass(frozen=True)
class Gathered:
    """Rows of many submitters, each measurement once.

    rejected: what was left out, with its place (repository, commit, file, line) and the reason.
    unchecked: rows that were taken although something could not be checked: dataset and split, and why.
    """

    rows: list[Row]
    context: Context
    rejected: list[Rejection]
    unchecked: list[Rejection]
    sources: list[Source]


def gather(repo_ids: Collection[str] | None = None, *, token: str | bool | None = None) -> Gathered:
    """The rows that lie on the Hub, with what their names stand for.

    Args:
        repo_ids: dataset repositories, ``"org/name[@revision]"``; None takes every one tagged ``qvec-hub-results``.

    Raises:
        HubError: when the Hub's listing, or a repository that was named, cannot be read; one that was found by its
            tag is rejected instead.
        ArtifactError: a name that is no repo id.
    """
    api, datasets = hub_api(token), Datasets(token)
    named = None if repo_ids is None else [pinned(api, parse_place(name)) for name in dict.fromkeys(repo_ids)]
    placed: list[Placed] = []
    said: list[Said] = []
    sources: list[Source] = []
    rejected: list[Rejection] = []
    budget = MAX_BYTES
    for place in find_repositories(api) if named is None else named:
        if isinstance(place, Rejection):
            rejected.append(place)
            continue
        try:
            files = _files(api, place, budget, rejected)
        except HubError as error:
            if named is not None:
                raise
            rejected.append(Rejection(str(place), printable(error, 500)))
            continue
        budget -= sum(len(file.content) for file in files)
        rows = _rows(files, datasets, rejected)
        placed += rows
        said += _contexts(files, rows, rejected)
        sources.append(Source(place.repo_id, place.revision or "", len(rows)))
    agreed, contradicted = agreed_rows(placed)
    context, disputed = agreed_context(said)
    unchecked = [Rejection(where, why) for where, why in datasets.unchecked.items()]
    return Gathered([each.row for each in agreed], context, rejected + contradicted + disputed, unchecked, sources)


def _files(api: HfApi, place: Place, budget: int, rejected: list[Rejection]) -> list[File]:
    files = []
    for found in read_files(api, place, budget):
        if isinstance(found, Rejection):
            rejected.append(found)
        else:
            files.append(found)
    return files


def _rows(files: Iterable[File], datasets: Datasets, rejected: list[Rejection]) -> list[Placed]:
    rows = []
    for file in files:
        for line in read_lines(file.content, file.where) if file.stored.suffix == ROWS else ():
            if isinstance(line, Rejection):
                rejected.append(line)
            elif reason := datasets.refusal(line.row):
                rejected.append(Rejection(line.where, reason))
            else:
                rows.append(line)
    return rows


def _contexts(files: Iterable[File], rows: Iterable[Placed], rejected: list[Rejection]) -> list[Said]:
    """What each submitter says of the names in rows of their own, and of no others."""
    own: dict[str, list[Row]] = {}
    for placed in rows:
        own.setdefault(_folder(placed.where), []).append(placed.row)
    said = []
    for file in files:
        if file.stored.suffix == ROWS:
            continue
        try:
            context = parse_context(parse_json(file.content, "context", "it is torn, or was written by hand"))
        except (ArtifactError, DataError) as error:
            rejected.append(Rejection(file.where, printable(error, 500)))
            continue
        said.append(Said(file.where, context.of(own.get(_folder(file.where), []))))
    return said


def _folder(where: str) -> str:
    """Repository, commit and submitter of a file, or of a line in it."""
    return where.rpartition("/")[0]
