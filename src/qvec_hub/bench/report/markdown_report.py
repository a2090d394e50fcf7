"""``report.md``: what was run, and for each base and grid sentences, tables and failures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ...hub.cards.markdown import table
from ...results.row import Row
from ..context import Context
from .sentences import findings, in_short
from .tables import ceilings_table, donors_table, failures_table, methods_table, scales_table, similarity_table
from .text import code, span
from .treatments import Line, Measured

__all__ = ["FIGURES", "dates", "document"]

FIGURES = "figures"  # the folder of the figures, beside the document
MAX_LISTED = 12  # of versions of one library, devices and so on, in one cell
CAPTIONS = {
    "methods": "Accuracy of every method",
    "gains": "Gain of each donor at each receiver",
    "scales": "Gain against scale",
    "bits": "Accuracy against bits",
}


def document(
    rows: Sequence[Row],
    context: Context,
    found: Measured,
    donors: Sequence[Line],
    title: str,
    figures: Mapping[str, Sequence[Path]],
) -> str:
    """Write the whole report in Markdown.

    Args:
        found, donors: what `measured` and `donor_lines` make of the rows.
        figures: paths by what they show, a key of `CAPTIONS`; the files are in the folder `FIGURES`.
    """
    parts = [f"# {code(title)[1:-1]}", *in_short(found)]
    parts += ["## What was run", _run(rows, context, found)]
    for base, grid in found.settings:
        own = [line for line in donors if (line.base, line.grid) == (base, grid)]
        parts += [f"## {code(base)} on {code(grid)}", *_setting(context, found, own, base, grid)]
    parts += [
        "## Figures",
        *(f"![{CAPTIONS[kind]}]({FIGURES}/{path.name})" for kind, paths in figures.items() for path in paths),
    ]
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
    warning = "A scale picked from this table is picked on test images, so its result is not zero-shot."
    return f"{warning}\n\n{scales}" if scales else ""


def _run(rows: Sequence[Row], context: Context, found: Measured) -> str:
    """A table of suites, counts, dates and libraries."""
    bases = sorted({context.receiver(row).base for row in rows})
    libraries: dict[str, set[str]] = {}
    for row in rows:
        for name, version in row.versions.items():
            libraries.setdefault(name, set()).add(version)
    facts = [
        ["suites", _listed({f"{row.suite} {row.suite_version}" for row in rows})],
        ["rows", f"{len(rows):,}, of which {found.unused:,} are in no table (see below)"],
        ["bases", ", ".join(_base(base, context) for base in bases)],
        ["receivers", f"{len({row.receiver for row in rows}):,}"],
        ["donors", f"{len({donor.repo for row in rows for donor in row.donors}):,}"],
        ["tasks", _listed({context.receiver(row).task for row in rows})],
        ["images", _images(rows)],
        ["seeds", _listed({str(row.seed) for row in rows})],
        ["counted", dates(rows)],
        ["devices", _listed({row.device for row in rows})],
        ["image backends", _listed({row.image_backend for row in rows})],
        *([code(name), _listed(versions)] for name, versions in sorted(libraries.items())),
    ]
    return table(["", ""], facts) + (
        "\n\nRows in no table repeat a measurement (the last one counts), lack plain rounding of the same receiver, "
        "grid, images and seed, or use a vector that contains or imitates one of the receiver's own task."
    )


def _base(base: str, context: Context) -> str:
    size = context.parameters.get(base)
    return code(base) + (f" ({size / 1e6:.2f} M parameters)" if size else "")


def _images(rows: Sequence[Row]) -> str:
    return f"{span([row.n for row in rows], '{:,}')} of each task's split {_listed({row.split for row in rows})}"


def dates(rows: Sequence[Row]) -> str:
    """The day on which rows were counted, or the first and the last one."""
    return span([row.created[:10] for row in rows])


def _listed(values: set[str]) -> str:
    names = sorted(values)
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(code(name) for name in names[:MAX_LISTED]) + more
