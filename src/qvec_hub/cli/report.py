"""``qvec bench report``: what do rows say?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import emit

__all__ = ["EPILOG", "report"]

EPILOG = "Example: qvec bench report runs/small/rows.jsonl --out report"


def report(
    rows: Annotated[list[Path], typer.Argument(help="Files of rows, or folders of *.jsonl.")],
    out: Annotated[Path, typer.Option(help="Folder for the report; files of an earlier one are written over.")],
    title: Annotated[str | None, typer.Option(help="Of the report and the leaderboard.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write tables, pictures and a leaderboard of benchmark rows.

    What receivers and donors were trained on is read from the context.json beside the rows, where there is one.
    """
    from ..bench.context import read_context
    from ..bench.report import read_all, write_report

    read = read_all(rows)
    written = write_report(read, read_context(rows), out, title)
    result = {
        "rows": len(read),
        "markdown": str(written.markdown),
        "leaderboard": str(written.leaderboard),
        "figures": [str(path) for path in written.figures],
    }
    lines = [f"Report: {written.markdown}", f"Leaderboard: {written.leaderboard}", f"Pictures: {len(written.figures)}"]
    emit(result, "\n".join(lines), as_json)
