"""``qvec push`` and ``qvec search``: publish a vector, and find vectors that fit a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .app import app, emit, note
from .found import progress, show
from .options import AsJson, CommitMessage, ReadToken, WriteToken
from .variants import choices

__all__ = ["push", "search"]


@app.command(
    epilog="Example: qvec push eurosat-int3-qvec me/vit-base-eurosat-int3-qvec --license apache-2.0 --rows rows.jsonl"
)
def push(
    folder: Annotated[Path, typer.Argument(help="Folder of a vector, or of a model made by `qvec apply`.")],
    repo: Annotated[str, typer.Argument(help="The repository, org/name; created if it does not exist.")],
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="Make a new repository private or public.")
    ] = None,
    token: WriteToken = None,
    revision: Annotated[str | None, typer.Option(help="The branch to commit to.")] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead of committing.")] = False,
    commit_message: CommitMessage = None,
    subfolder: Annotated[str | None, typer.Option(help="Folder in the repository. Default: its root.")] = None,
    rows: Annotated[Path | None, typer.Option(help="Benchmark rows (JSON lines) for the card's table.")] = None,
    license: Annotated[str | None, typer.Option(help="Licence for the vector's card, such as apache-2.0.")] = None,
    encoding: Annotated[
        str | None, typer.Option(help=f"One of {choices('encoding')}. Default: that of the folder.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Also replace a vector of another base.")] = False,
    as_json: AsJson = False,
) -> None:
    """Publish a vector, or a model quantized with one, and its card, in one commit.

    Hand-written parts of the card, here or on the Hub, are kept.
    """
    from ..artifact.config import CARD_FILE, CONFIG_FILE

    card = folder / CARD_FILE
    options = {
        "private": private,
        "token": token,
        "revision": revision,
        "create_pr": create_pr,
        "commit_message": commit_message,
        "replace": replace,
        "card": card.read_text(encoding="utf-8", errors="replace") if card.is_file() else "",
    }
    note(f"uploading {folder} to {repo}")
    if (folder / "config.json").exists() and not (folder / CONFIG_FILE).exists():
        for_vectors = {"--subfolder": subfolder, "--rows": rows, "--license": license, "--encoding": encoding}
        done = _push_model(folder, repo, options, [name for name, given in for_vectors.items() if given])
    else:
        done = _push_vector(
            folder, repo, rows, {**options, "subfolder": subfolder, "license": license, "encoding": encoding}
        )
    result = {"repo": done.repo_url.repo_id, "commit": done.oid, "url": str(done), "pull_request": done.pr_url}
    emit(result, done.pr_url or str(done), as_json)


def _push_vector(folder: Path, repo: str, rows: Path | None, options: dict[str, Any]) -> Any:
    from ..results.rows import read_rows
    from ..vector.vector import QuantizationVector

    counted = None if rows is None else read_rows(rows)
    return QuantizationVector.from_pretrained(folder).push_to_hub(repo, rows=counted, **options)


def _push_model(folder: Path, repo: str, options: dict[str, Any], unused: list[str]) -> Any:
    from ..errors import QVecError
    from ..hub.publish.push import push_model
    from ..loading.from_pretrained import from_pretrained

    if unused:
        raise QVecError(f"{folder}: is a model, so {', '.join(unused)} cannot be used; leave them out")
    model = from_pretrained(folder)
    if getattr(model.config, "quantization_config", None) is None:
        raise QVecError(f"{folder}: is a float model; quantize it with `qvec apply`, or upload it with `hf upload`")
    return push_model(model, repo, **options)


@app.command(epilog="Example: qvec search --for me/vit-base-flowers --bits 3")
def search(
    receiver: Annotated[
        str | None, typer.Option("--for", help="The model to quantize: a folder or a Hub repo id, id@revision allowed.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="Repo id of the model's base, if you know it.")] = None,
    bits: Annotated[int | None, typer.Option(help="Only vectors for this number of bits.", min=2, max=8)] = None,
    grid: Annotated[str | None, typer.Option(help="Only vectors for this grid, such as int3-channel-mse.")] = None,
    task: Annotated[str | None, typer.Option(help="Only vectors whose task or dataset contains this text.")] = None,
    limit: Annotated[int, typer.Option(help="Show at most this many.", min=1)] = 20,
    token: ReadToken = None,
    as_json: AsJson = False,
) -> None:
    """Find vectors on the Hub that were made on a model's base, the best measured first.

    Vectors are sorted by score: the mean gain over plain rounding that the card reports, times n / (n + 3) for n
    receivers, or 0 without results. Downloads decide between equal scores. Gain and control (a random vector of the
    same size) are percentage points; wins counts the receivers that got better. Authors report all three, on tasks
    other than the donor's.

    Without --for and --base, vectors of every base are listed.
    """
    from ..hub_search.search import search as find

    with progress("asking the Hub") as status:
        found = find(
            receiver,
            base_model=base,
            bits=bits,
            grid=grid,
            task=task,
            limit=limit,
            token=token,
            advance=lambda seen: status(f"{seen} vectors seen"),
        )
    if as_json:
        emit(found.to_dict(), "", True)
    else:
        show(found)
