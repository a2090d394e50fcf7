"""``qvec push`` and ``qvec search``: publishing a vector, and finding the ones that fit a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..untrusted import printable
from .app import app, console, emit, note, print_table

__all__ = ["push", "search"]


@app.command(
    epilog="Example: qvec push eurosat-int3-qvec me/vit-base-eurosat-int3-qvec --license apache-2.0 --rows rows.jsonl"
)
def push(
    folder: Annotated[Path, typer.Argument(help="A vector's folder, made by `qvec extract` or `qvec train`.")],
    repo: Annotated[str, typer.Argument(help="The repository, org/name; created if it does not exist.")],
    private: Annotated[bool | None, typer.Option("--private/--public", help="Who may see a new repository.")] = None,
    token: Annotated[str | None, typer.Option(help="A token with write access; by default the one logged in.")] = None,
    revision: Annotated[str | None, typer.Option(help="The branch to commit to.")] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead of committing.")] = False,
    commit_message: Annotated[str | None, typer.Option(help="The commit's message.")] = None,
    subfolder: Annotated[str | None, typer.Option(help="Where in the repository, if not at its root.")] = None,
    rows: Annotated[Path | None, typer.Option(help="Benchmark rows (JSON lines) for the card's table.")] = None,
    license: Annotated[str | None, typer.Option(help="The vector's licence, such as apache-2.0, for its card.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a vector of another base.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Publish a vector with its model card, in one commit; what you wrote into the card by hand stays."""
    from ..artifact import CARD_FILE
    from ..bench import read_rows
    from ..hub import push_vector
    from ..vector import QuantizationVector

    vector = QuantizationVector.from_pretrained(folder)
    card = folder / CARD_FILE
    note(f"uploading {folder} to {repo}")
    done = push_vector(
        vector,
        repo,
        private=private,
        token=token,
        revision=revision,
        create_pr=create_pr,
        commit_message=commit_message,
        subfolder=subfolder,
        rows=None if rows is None else read_rows(rows),
        license=license,
        card=card.read_text(encoding="utf-8", errors="replace") if card.exists() else None,
        replace=replace,
    )
    result = {"repo": done.repo_url.repo_id, "commit": done.oid, "url": str(done), "pull_request": done.pr_url}
    emit(result, done.pr_url or str(done), as_json)


@app.command(epilog="Example: qvec search --for me/vit-base-flowers --bits 3")
def search(
    receiver: Annotated[str | None, typer.Option("--for", help="The model to help: a folder or a repo id.")] = None,
    base: Annotated[str | None, typer.Option(help="Its base, if you know it: a repo id.")] = None,
    bits: Annotated[int | None, typer.Option(help="Only vectors for this width.", min=2, max=8)] = None,
    grid: Annotated[str | None, typer.Option(help="Only vectors for this grid, such as int3-channel-mse.")] = None,
    task: Annotated[str | None, typer.Option(help="Only vectors whose task or dataset contains this text.")] = None,
    limit: Annotated[int, typer.Option(help="Show at most so many.", min=1)] = 30,
    token: Annotated[str | None, typer.Option(help="A token, to see private vectors too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the vectors on the Hub that were made on a model's base, the best measured first."""
    from ..hub import search as find

    with console.status("asking the Hub") if console.is_terminal else _silent() as status:
        advance = (lambda seen: status.update(f"{seen} vectors seen")) if console.is_terminal else None
        found = find(
            receiver, base_model=base, bits=bits, grid=grid, task=task, limit=limit, token=token, advance=advance
        )
    if as_json:
        emit(found.to_dict(), "", True)
        return
    if found.base_model:
        note(f"base: {found.base_model} ({found.found_by})")
    print_table(
        f"{len(found)} vectors",
        ["vector", "task", "grid", "gain", "wins", "control", "size", "downloads"],
        [_line(vector) for vector in found],
    )
    for vector in found.broken:
        note(printable(f"broken: {vector.repo_id}: {vector.broken}", 300))
    if not found:
        note("no vector fits; make one with `qvec train`, or search with fewer conditions")


def _line(vector: Any) -> list[str]:
    from ..hub.text import plain, points, sized

    found = vector.evidence
    control = found.control if found else None
    return [
        printable(vector.repo_id),
        plain(vector.task or vector.dataset or "–", 40),
        vector.grid or "–",
        points(found.mean_gain) if found else "not measured",
        f"{found.wins}/{found.n_pairs}" if found else "–",
        points(control.value) if control else "–",
        sized(vector.size) if vector.size else "–",
        str(vector.downloads),
    ]


def _silent() -> Any:
    from contextlib import nullcontext

    return nullcontext()
