"""``qvec bench submit``, and reading rows from the Hub for ``qvec bench report --from-hub``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .app import emit, note
from .options import AsJson, CommitMessage, WriteToken

if TYPE_CHECKING:
    from ..bench.community.gather import GatheredRows
    from ..bench.community.read_rows import Rejection

__all__ = ["EPILOG", "from_hub", "submit"]

EPILOG = "Example: qvec bench submit results/ org/qvec-results"
SHOWN = 20  # rejections that are printed; an untrusted file may hold thousands


def submit(
    rows: Annotated[Path, typer.Argument(help="A file of benchmark rows, or a folder of *.jsonl.")],
    repo: Annotated[str, typer.Argument(help="A results dataset; with --card, your vector's repository.")],
    card: Annotated[bool, typer.Option("--card", help="Put the results on a vector's own card instead.")] = False,
    results: Annotated[str | None, typer.Option(help="With --card: the results dataset that holds the rows.")] = None,
    create_pr: Annotated[
        bool | None, typer.Option("--create-pr/--commit", help="Default: a pull request; with --card, a commit.")
    ] = None,
    token: WriteToken = None,
    commit_message: CommitMessage = None,
    as_json: AsJson = False,
) -> None:
    """Propose benchmark rows to a results dataset on the Hub, or put them on your vector's card.

    The rows are checked first; the pull request adds files below rows/YOUR-NAME/ and changes none.
    """
    from ..bench.community.submit import submit as propose
    from ..bench.community.submit_card import submit_results
    from ..results.rows import read_all

    if results is not None and not card:
        raise typer.BadParameter("goes only with --card", param_hint="--results")
    note(f"checking {rows}")
    options = {"token": token, "commit_message": commit_message}
    if card:
        done = submit_results(repo, read_all([rows]), results_repo=results, create_pr=bool(create_pr), **options)
    else:
        done = propose(rows, repo, create_pr=create_pr is not False, **options)
    result = {"repo": done.repo_url.repo_id, "commit": done.oid, "url": str(done), "pull_request": done.pr_url}
    emit(result, done.pr_url or str(done), as_json)


def from_hub(repos: Collection[str] = (), token: str | None = None) -> GatheredRows:
    """Gather rows and their context from the Hub; print their sources and what was left out on stderr.

    Args:
        repos: results datasets, ``org/name[@revision]``; empty takes all datasets with the tag.
    """
    from ..bench.community.gather import gather

    found = gather(repos or None, token=token)
    for source in found.sources:
        note(f"{source.repo_id}@{source.commit}: {source.rows} rows")
    _list("left out", found.rejected)
    _list("not checked", found.unchecked)
    return found


def _list(what: str, found: Sequence[Rejection]) -> None:
    for where, reason in found[:SHOWN]:
        note(f"{what}: {where}: {reason}")
    if len(found) > SHOWN:
        note(f"{what}: {len(found) - SHOWN} more")
