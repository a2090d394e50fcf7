"""``qvec bench report``: tables, figures and a leaderboard from rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import emit
from .options import AsJson
from .submit import from_hub

__all__ = ["EPILOG", "report"]

EPILOG = "Example: qvec bench report runs/small/rows.jsonl --out report"


def report(
    rows: Annotated[
        list[str] | None, typer.Argument(help="Files of rows or folders of *.jsonl; with --from-hub, repositories.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder for the report; an earlier one there is replaced.")],
    hub: Annotated[
        bool,
        typer.Option(
            "--from-hub", help="Gather rows from results datasets on the Hub; from all of them if none is named."
        ),
    ] = False,
    title: Annotated[str | None, typer.Option(help="Title of the report and the leaderboard.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write tables, figures and a leaderboard from benchmark rows.

    The tasks of receivers and donors are read from the context.json beside the rows, if there is one.
    """
    from ..bench.context import read_context
    from ..bench.report.write import write_report
    from ..errors import DataError
    from ..results.rows import read_all
    from ..util.scratch import check_writable

    check_writable(out)
    if hub:
        gathered = from_hub(rows or [])
        read, context = gathered.rows, gathered.context
        if not read:
            raise DataError("bench report: expected rows in the results datasets on the Hub, found none")
    elif not rows:
        raise typer.BadParameter("expected a file or folder of rows, or --from-hub", param_hint="ROWS")
    else:
        read, context = read_all(rows, torn_ok=True), read_context(rows)
    written = write_report(read, context, out, title)
    result = {
        "rows": len(read),
        "markdown": str(written.markdown),
        "leaderboard": str(written.leaderboard),
        "figures": [str(path) for path in written.figures],
    }
    lines = [f"Report: {written.markdown}", f"Leaderboard: {written.leaderboard}", f"Figures: {len(written.figures)}"]
    emit(result, "\n".join(lines), as_json)
