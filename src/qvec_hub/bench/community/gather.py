"""Gather the rows of many results repositories into one checked list, and report what is left out.

Trust: the owner of a results repository decides whose pull requests are merged, so whose rows count, and must see that
a folder has its submitter's name, which the Hub does not enforce. Anybody can tag a repository of their own, so rows
that are found by the tag are unverified. Gathering checks a row's form and arithmetic, that its images exist in the
stated number, and that no other row contradicts it. It cannot check that a row was counted at all; to find out, count
it again. If the rows of two submitters contradict each other, both are left out; to keep a submitter out, name the
repositories you trust.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from huggingface_hub import HfApi

from ...errors import ArtifactError, DataError, HubError
from ...hub.transfer.client import hub_api
from ...hub.transfer.repo_path import RepoPath, parse_place
from ...results.row import Row
from ...util.untrusted import parse_json, printable
from ..context import Context, parse_context
from .check_datasets import Datasets
from .consensus import Said, agreed_context, agreed_rows
from .fetch import File, find_repositories, pinned, read_files
from .paths import ROWS
from .read_rows import Placed, Rejection, read_lines

__all__ = ["GatheredRows", "Rejection", "ResultsRepo", "gather"]

MAX_BYTES = 128 << 20  # of all files, about 180,000 rows


@dataclass(frozen=True)
class ResultsRepo:
    """A results repository, the commit it was read at, and the number of its rows that passed their own checks."""

    repo_id: str
    commit: str
    rows: int


@dataclass(frozen=True)
class GatheredRows:
    """Rows of many submitters, each measurement once.

    Attributes:
        rows: the accepted rows.
        context: their context.
        rejected: what was left out: where it is (repository, commit, file, line), and the reason.
        unchecked: datasets and splits that could not be checked, and why; their rows are accepted.
        sources: the repositories that were read.
    """

    rows: list[Row]
    context: Context
    rejected: list[Rejection]
    unchecked: list[Rejection]
    sources: list[ResultsRepo]


def gather(repo_ids: Collection[str] | None = None, *, token: str | bool | None = None) -> GatheredRows:
    """Gather the rows of results repositories on the Hub, and their context.

    Args:
        repo_ids: dataset repositories, ``"org/name[@revision]"``; None takes all that are tagged ``qvec-hub-results``.
        token: as for `huggingface_hub`.

    Raises:
        HubError: when the Hub's listing, or a repository in `repo_ids`, cannot be read; a repository that was found by
            its tag is rejected instead.
        ArtifactError: when a name in `repo_ids` is not a repo id.
    """
    api, datasets = hub_api(token), Datasets(token)
    named = None if repo_ids is None else [pinned(api, parse_place(name)) for name in dict.fromkeys(repo_ids)]
    placed: list[Placed] = []
    said: list[Said] = []
    sources: list[ResultsRepo] = []
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
        sources.append(ResultsRepo(place.repo_id, place.revision or "", len(rows)))
    agreed, contradicted = agreed_rows(placed)
    context, disputed = agreed_context(said)
    unchecked = [Rejection(where, why) for where, why in datasets.unchecked.items()]
    return GatheredRows([each.row for each in agreed], context, rejected + contradicted + disputed, unchecked, sources)


def _files(api: HfApi, place: RepoPath, budget: int, rejected: list[Rejection]) -> list[File]:
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
    """Each submitter's context, reduced to the names in their own rows."""
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
    """Repository, commit and submitter, from the place of a file or of a line in it."""
    return where.rpartition("/")[0]
