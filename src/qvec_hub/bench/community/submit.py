"""Submitting rows to a results repository: a pull request that adds files and changes none."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

from huggingface_hub import CommitInfo, HfApi

from ...errors import DataError, HubError
from ...hub.transfer.client import hub_api, hub_errors
from ...hub.transfer.commit import UNTOUCHED, Destination, commit, find_destination, same_content
from ...hub.transfer.repo_path import parse_place
from ...results.row import Row
from ...results.rows import read_rows, row_files
from ...util.untrusted import parse_json
from ..context import Context, read_context
from .check_datasets import Datasets
from .consensus import agreed_rows
from .fetch import MAX_BYTES
from .paths import CONTEXT, ROWS, folder_of, path_of
from .read_rows import Placed, Rejection, read_lines

__all__ = ["submit"]

SHOWN = 5  # bad rows that a message names
OPEN_REQUESTS = 20  # of the submitter's pull requests that are compared


def submit(
    rows: str | Path,
    repo_id: str,
    *,
    token: str | bool | None = None,
    create_pr: bool = True,
    commit_message: str | None = None,
) -> CommitInfo:
    """Submit benchmark rows to a results repository, for `gather`: a file for each suite, and their context.

    The files are below ``rows/<user>/`` and named after their content; no other file is changed.

    Args:
        rows: a file of rows, or a folder of ``*.jsonl``; a ``context.json`` beside them is submitted too.
        repo_id: the dataset repository, which must exist. Its owner tags it ``qvec-hub-results``.
        token: as for `huggingface_hub`; False is refused, because rows are submitted in a user's name.
        create_pr: open a pull request; if False, commit to the repository, for which its owner has the right.
        commit_message: by default user, suites and number of rows.

    Returns:
        The commit's URL, a string with the attributes ``oid``, ``pr_url``, ….

    Raises:
        DataError: when there are no rows, or `gather` would reject one; nothing was sent.
        ArtifactError: when the context contains control characters.
        HubError: when these rows were submitted already, the Hub refuses, or the connection breaks.
    """
    counted, context = _read(Path(rows))
    _refuse_bad(counted, Datasets(token))
    plain = [placed.row for placed in counted]
    place, api = parse_place(repo_id), hub_api(token)
    if token is False:
        raise HubError(f"{place}: rows are sent in somebody's name; log in with `hf auth login` or pass a token")
    with hub_errors(place, "could not be submitted to", UNTOUCHED):
        user = str(api.whoami()["name"])
    contents = _contents(user, plain, context)
    there = find_destination(api, place, "dataset", [folder_of(user)])
    suites = ", ".join(dict.fromkeys(row.suite for row in plain))
    message = commit_message or f"Rows of {user}: {suites} ({len(plain)} rows)"
    with tempfile.TemporaryDirectory(prefix="qvec-submit-") as scratch:
        files = _written(contents, Path(scratch))
        new = _new_files(there, files)
        if create_pr:
            _refuse_proposed(api, there, user, new)
        return commit(api, there, new, message, description=_description(plain), create_pr=create_pr)


def _read(path: Path) -> tuple[list[Placed], Context]:
    # The line is unknown where a file has empty ones, so the number is that of the row.
    placed = [Placed(f"{file} row {i}", row) for file in row_files([path]) for i, row in enumerate(read_rows(file), 1)]
    if not placed:
        raise DataError(f"{path}: expected rows to submit, found none; write some with `qvec bench run`")
    return placed, read_context([path]).of(each.row for each in placed)


def _refuse_bad(rows: Iterable[Placed], datasets: Datasets) -> None:
    """Raise DataError if `gather` would leave a row out."""
    rows = list(rows)
    bad = []
    for where, row in rows:
        # Rows of this package can also break the rules for untrusted files, for example a name with an escape sequence.
        odd = [found.reason for found in read_lines(_line(row), "") if isinstance(found, Rejection)]
        reason = odd[0] if odd else datasets.refusal(row)
        bad += [Rejection(where, reason)] if reason else []
    bad += agreed_rows(rows)[1]
    if bad:
        named = "; ".join(f"{where}: {reason}" for where, reason in bad[:SHOWN])
        more = f"; and {len(bad) - SHOWN} more rows" if len(bad) > SHOWN else ""
        raise DataError(f"{named}{more}; {UNTOUCHED}: take these rows out or measure them again")


def _contents(user: str, rows: Iterable[Row], context: Context) -> dict[str, bytes]:
    """Path in the repository -> content: each row once, in one form, so that the same rows give the same file.

    Raises:
        DataError: when a suite has more rows than fit a file.
        ArtifactError: when the context contains what `gather` refuses, such as control characters.
    """
    lines: dict[str, dict[bytes, None]] = {}
    for row in rows:
        lines.setdefault(row.suite, {})[_line(row)] = None
    found = {}
    for suite, each in lines.items():
        content = b"".join(each)
        if len(content) > MAX_BYTES[ROWS]:
            raise DataError(
                f"suite {suite}: expected rows of at most {MAX_BYTES[ROWS]:,} bytes, found {len(content):,}; "
                "submit them in parts"
            )
        found[path_of(user, suite, content, ROWS)] = content
    if context != Context():
        content = json.dumps(context.to_dict()).encode()
        parse_json(content, "context.json", "correct or remove it")
        found[path_of(user, "context", content, CONTEXT)] = content
    return found


def _line(row: Row) -> bytes:
    return json.dumps(row.to_dict()).encode() + b"\n"


def _written(contents: Mapping[str, bytes], folder: Path) -> dict[str, Path]:
    files = {}
    for i, (path, content) in enumerate(contents.items()):
        files[path] = folder / str(i)
        files[path].write_bytes(content)
    return files


def _new_files(there: Destination, files: Mapping[str, Path]) -> dict[str, Path]:
    """The files that the repository does not have yet.

    Raises:
        HubError: when it has all of them, or another file at one of their paths.
    """
    taken = [path for path in files if path in there.files and not same_content(files[path], there.files[path])]
    if taken:
        raise HubError(
            f"{there.place}: holds something else at {taken[0]}, which only these rows can be; {UNTOUCHED}: tell the "
            "owner that the file was changed"
        )
    new = {path: file for path, file in files.items() if path not in there.files}
    if not new:
        raise HubError(f"{there.place}: these rows were submitted already, as {', '.join(files)}; {UNTOUCHED}")
    return new


def _refuse_proposed(api: HfApi, there: Destination, user: str, files: Mapping[str, Path]) -> None:
    """Raise HubError where one of the submitter's open pull requests holds all these files."""
    repo_id = there.place.repo_id
    with hub_errors(there.place, "its pull requests could not be looked at", UNTOUCHED):
        requests = api.get_repo_discussions(
            repo_id, repo_type="dataset", author=user, discussion_type="pull_request", discussion_status="open"
        )
        for request in islice(requests, OPEN_REQUESTS):
            revision = f"refs/pr/{request.num}"
            held = api.get_paths_info(repo_id, list(files), revision=revision, repo_type="dataset")
            if {entry.path for entry in held} == files.keys():
                raise HubError(
                    f"{there.place}: these rows wait to be merged in "
                    f"{api.endpoint}/{there.page}/discussions/{request.num}; {UNTOUCHED}"
                )


def _description(rows: list[Row]) -> str:
    """A pull request's description: what was measured, in numbers."""
    receivers, tasks = {row.receiver for row in rows}, {row.dataset for row in rows}
    methods = ", ".join(sorted({row.method for row in rows}))
    return f"{len(rows)} rows on {len(receivers)} receivers and {len(tasks)} datasets, methods {methods}."
