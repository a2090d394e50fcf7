"""A report on benchmark rows: tables and prose, pictures, and a page to look things up in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError
from ...markdown import table
from ...version import __version__
from ..context import Context
from ..row import Row
from .figures import draw_figures
from .leaderboard import leaderboard
from .lines import Line, Measured, donor_lines, measured
from .prose import findings, in_short
from .tables import ceilings_table, donors_table, failures_table, methods_table, scales_table, similarity_table
from .text import code, counted, named

__all__ = ["Report", "write_report"]

TITLE = "Benchmark of quantization vectors"
MAX_LISTED = 12  # of versions of one library, devices and so on, in one cell
CAPTIONS = {
    "methods": "Accuracy of every method",
    "gains": "Gain of each donor at each receiver",
    "scales": "Gain against scale",
    "bits": "Accuracy against bits",
}


@dataclass(frozen=True)
class Report:
    """The files of a report. Beside each of `figures`, PNG, lies an SVG of the same name."""

    markdown: Path
    leaderboard: Path
    figures: tuple[Path, ...]


def write_report(rows: Sequence[Row], context: Context, out: str | Path, title: str | None = None) -> Report:
    """Write ``report.md``, ``leaderboard.html`` and pictures into a folder, over those of an earlier report.

    Rows of different suites are told apart only where they do not meet: gains are counted within a suite.

    Raises:
        DataError: no row has plain rounding beside it, or the folder cannot be written to.
    """
    found = measured(rows, context)
    if not found.lines:
        raise DataError(
            f"rows: expected plain rounding ('ptq') of at least one receiver, to count gains from, found none in "
            f"{counted(len(rows), 'row')}; run the suite's 'ptq' rows"
        )
    out, title, donors = Path(out), named(title or TITLE), donor_lines(found)
    try:
        out.mkdir(parents=True, exist_ok=True)
        drawn = draw_figures(found, out)
        text = _markdown(rows, context, found, donors, title, drawn)
        page = leaderboard(found, donors, title, in_short(found), _footer(rows))
        markdown, html = out / "report.md", out / "leaderboard.html"
        markdown.write_text(text, encoding="utf-8")
        html.write_text(page, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{out}: expected a folder to write a report to, found that it cannot be: {error}") from error
    return Report(markdown, html, tuple(path for paths in drawn.values() for path in paths))


def _markdown(
    rows: Sequence[Row],
    context: Context,
    found: Measured,
    donors: Sequence[Line],
    title: str,
    drawn: dict[str, list[Path]],
) -> str:
    parts = [f"# {code(title)[1:-1]}", *in_short(found)]
    parts += ["## What was run", _run(rows, context, found)]
    for base, grid in found.settings:
        own = [line for line in donors if (line.base, line.grid) == (base, grid)]
        parts += [f"## {code(base)} on {code(grid)}", *_setting(context, found, own, base, grid)]
    parts += ["## Pictures", *(f"![{CAPTIONS[kind]}]({path.name})" for kind, paths in drawn.items() for path in paths)]
    parts += ["## Look it up", "[leaderboard.html](leaderboard.html) holds every number with the rows behind it."]
    return "\n\n".join(part for part in parts if part) + "\n"


def _setting(context: Context, found: Measured, donors: Sequence[Line], base: str, grid: str) -> Iterable[str]:
    yield "\n".join(f"- {sentence}" for sentence in findings(found, base, grid))
    yield methods_table(found, base, grid)
    for heading, text in {
        "Ceilings: not transfers": ceilings_table(found, base, grid),
        "Gain against scale": _warned(scales_table(found, base, grid)),
        "Donors": donors_table(donors, context),
        "Near and far tasks": similarity_table(single, context) if (single := found.single(base, grid)) else "",
        "Failures": failures_table(found.main(base, grid)),
    }.items():
        if text:
            yield f"### {heading}"
            yield text


def _warned(scales: str) -> str:
    warning = "The best scale of a row of these was seen on the test images: picking it here is no zero-shot result."
    return f"{warning}\n\n{scales}" if scales else ""


def _run(rows: Sequence[Row], context: Context, found: Measured) -> str:
    """Suites, counts, dates and libraries."""
    bases = sorted({context.receiver(row).base for row in rows})
    libraries: dict[str, set[str]] = {}
    for row in rows:
        for name, version in row.versions.items():
            libraries.setdefault(name, set()).add(version)
    facts = [
        ["suites", _listed({f"{row.suite} {row.suite_version}" for row in rows})],
        ["rows", f"{len(rows):,}, of which {found.unused:,} stand in no table (see below)"],
        ["bases", ", ".join(_base(base, context) for base in bases)],
        ["receivers", f"{len({row.receiver for row in rows}):,}"],
        ["donors", f"{len({donor.repo for row in rows for donor in row.donors}):,}"],
        ["tasks", _listed({context.receiver(row).task for row in rows})],
        ["images", _images(rows)],
        ["seeds", _listed({str(row.seed) for row in rows})],
        ["counted", _dates(rows)],
        ["devices", _listed({row.device for row in rows})],
        ["image backends", _listed({row.image_backend for row in rows})],
        *([code(name), _listed(versions)] for name, versions in sorted(libraries.items())),
    ]
    return table(["", ""], facts) + (
        "\n\nIn no table stand rows that repeat a measurement (the last one counts), rows without plain rounding of "
        "the same receiver, grid, images and seed, and vectors that contain or imitate one of the receiver's own task."
    )


def _base(base: str, context: Context) -> str:
    size = context.parameters.get(base)
    return code(base) + (f" ({size / 1e6:.2f} M parameters)" if size else "")


def _images(rows: Sequence[Row]) -> str:
    counts = sorted({row.n for row in rows})
    number = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    return f"{number} of each task's split {_listed({row.split for row in rows})}"


def _dates(rows: Sequence[Row]) -> str:
    days = sorted({row.created[:10] for row in rows})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _listed(values: set[str]) -> str:
    names = sorted(values)
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(code(name) for name in names[:MAX_LISTED]) + more


def _footer(rows: Sequence[Row]) -> str:
    suites = ", ".join(sorted({named(f"{row.suite} {row.suite_version}") for row in rows})[:MAX_LISTED])
    return f"Suites: {suites}. Rows counted {_dates(rows)}. Written by qvec_hub {__version__}."
