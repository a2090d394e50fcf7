"""Writing a report on benchmark rows: tables and sentences, figures, and the leaderboard."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import ArtifactError, DataError
from ...hub.cards.markdown import counted
from ...results.row import Row
from ...util.atomic import new_folder, write_text
from ...util.scratch import check_writable
from ...util.written import Layout
from ...version import __version__
from ..context import Context
from .figures import draw_figures
from .leaderboard import leaderboard
from .markdown_report import FIGURES, dates, document
from .sentences import in_short
from .text import named
from .treatments import donor_lines, measured

__all__ = ["WrittenReport", "write_report"]

TITLE = "Benchmark of quantization vectors"
REPORT_FILE = "report.md"
_FIGURE = re.compile(r"(bits|(methods|scales|gains)-.+)\.(png|svg)")
_GAINS = re.compile(r"gains-.+-int[2-8]-[a-z]+[0-9]*-.+\.(png|svg)")  # with the full name of a grid
MAX_SUITES = 12  # named in the leaderboard's last line


@dataclass(frozen=True)
class WrittenReport:
    """The files of a report. `figures` are PNG files; an SVG of the same name lies beside each."""

    markdown: Path
    leaderboard: Path
    figures: tuple[Path, ...]


def write_report(rows: Sequence[Row], context: Context, out: str | Path, title: str | None = None) -> WrittenReport:
    """Write ``report.md``, ``leaderboard.html`` and ``figures/`` into a folder; replaces an earlier report there.

    Gains are counted within a suite, but tables do not separate suites: rows of several suites on one base and grid
    share a line.

    Args:
        title: of the report and the leaderboard.

    Raises:
        DataError: no row has plain rounding beside it, or the folder cannot be written to.
    """
    found = measured(rows, context)
    if not found.lines:
        raise DataError(
            f"rows: expected plain rounding ('ptq') of at least one receiver, to count gains from, found none in "
            f"{counted(len(rows), 'row')}; run the suite's 'ptq' rows"
        )
    out, title = Path(out), named(title or TITLE)
    try:
        check_writable(out)
        donors = donor_lines(found)
        out.mkdir(parents=True, exist_ok=True)
        with new_folder(out / FIGURES, Layout(removable=_earlier_figures, replaceable=_figures)) as folder:
            drawn = draw_figures(found, folder)
        text = document(rows, context, found, donors, title, drawn)
        page = leaderboard(found, donors, title, in_short(found), _footer(rows))
        markdown, html = out / REPORT_FILE, out / "leaderboard.html"
        write_text(markdown, text)
        write_text(html, page)
    except (OSError, ArtifactError) as error:
        raise DataError(f"{out}: expected a folder to write a report to, found that it cannot be: {error}") from error
    return WrittenReport(markdown, html, tuple(out / FIGURES / path.name for paths in drawn.values() for path in paths))


def _figures(folder: Path) -> list[str]:
    """Names of files that are named like a report's figure."""
    return [path.name for path in folder.glob("*") if _FIGURE.fullmatch(path.name)]


def _earlier_figures(folder: Path) -> list[str]:
    """Names of figures that an earlier report shows, or whose name no other file would have."""
    report = folder.parent / REPORT_FILE
    shown = report.read_text(encoding="utf-8", errors="replace") if report.is_file() else ""
    names = _figures(folder)
    return [name for name in names if _GAINS.fullmatch(name) or f"({FIGURES}/{name.rpartition('.')[0]}.png)" in shown]


def _footer(rows: Sequence[Row]) -> str:
    suites = ", ".join(sorted({named(f"{row.suite} {row.suite_version}") for row in rows})[:MAX_SUITES])
    return f"Suites: {suites}. Rows counted {dates(rows)}. Written by qvec_hub {__version__}."
