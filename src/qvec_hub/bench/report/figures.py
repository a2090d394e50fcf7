"""The figures of a report, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ...util.progress import counting
from .bars import draw_bars
from .curves import draw_bits, draw_scales
from .heatmap import draw_heatmap
from .text import file_names
from .treatments import Measured

__all__ = ["draw_figures"]

DPI = 150
# Text as paths, so that an SVG needs no font; a fixed salt, so that the same rows always give the same bytes.
STYLE: Any = {
    "svg.fonttype": "path",
    "svg.hashsalt": "qvec",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,
}


def draw_figures(found: Measured, out: Path) -> dict[str, list[Path]]:
    """Draw all figures that the rows allow into the folder `out`.

    Returns:
        PNG files by what they show: ``"methods"``, ``"gains"`` (donor by receiver), ``"scales"`` and ``"bits"``. An
        SVG of the same name lies beside each.

    Raises:
        OSError: a file cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    drawn: dict[str, list[Path]] = {"methods": [], "gains": [], "scales": [], "bits": []}
    wanted = list(_wanted(found))
    with matplotlib.rc_context(STYLE), counting("drawing", len(wanted)) as advance:
        for kind, name, draw in wanted:
            drawn[kind] += _save(draw(), out / name)
            advance(1)
    return drawn


def _wanted(found: Measured) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """For each possible figure: what it shows, the stem of its files, and the function that draws it."""
    for base, stem in file_names(sorted({base for base, _ in found.settings})).items():
        yield "methods", f"methods-{stem}", partial(draw_bars, found, base)
        for grid in [grid for on, grid in found.settings if on == base]:
            yield "gains", f"gains-{stem}-{grid}", partial(draw_heatmap, found, base, grid)
        yield "scales", f"scales-{stem}", partial(draw_scales, found, base)
    yield "bits", "bits", partial(draw_bits, found)


def _save(figure: Any, path: Path) -> list[Path]:
    """Write and close a figure, if there is one; returns the PNG."""
    if figure is None:
        return []
    from matplotlib import pyplot as plt

    png, svg = path.with_name(f"{path.name}.png"), path.with_name(f"{path.name}.svg")
    save: Callable[..., None] = figure.savefig
    save(png, dpi=DPI, bbox_inches="tight", pad_inches=0.12)
    save(svg, bbox_inches="tight", pad_inches=0.12, metadata={"Date": None})
    plt.close(figure)
    return [png]
