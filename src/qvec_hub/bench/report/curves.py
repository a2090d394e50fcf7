"""Curves: gain against scale, and accuracy against bits."""

from __future__ import annotations

from typing import Any

from .bars import error_bars
from .style import CONTROLS, MERGES, SINGLE, colour
from .text import named, sample
from .treatments import Line, Measured

__all__ = ["draw_bits", "draw_scales"]

Curve = list[tuple[float, Line]]  # by scale or bits, ascending
MARKERS = ("s", "D", "o", "P", "X", "v", "^", "<", ">", "p", "h")  # by method, so that no colour is needed
MAX_TICKS = 6  # of scales, before matplotlib chooses some


def draw_scales(found: Measured, base: str) -> Any:
    """Draw mean gains in percentage points against the scale, with intervals.

    Returns:
        A matplotlib figure, a panel for each grid; None if nothing was measured at two scales.
    """
    from matplotlib import pyplot as plt

    curves = {grid: _by_treatment(found.of(base, grid)) for on, grid in found.settings if on == base}
    curves = {grid: those for grid, those in curves.items() if those}
    if not curves:
        return None
    names = sorted({name for those in curves.values() for name in those})
    styles = _styles(names, {name: curve[0][1] for those in curves.values() for name, curve in those.items()})
    figure, axes = plt.subplots(
        1, len(curves), figsize=(1.0 + 3.9 * len(curves), 3.9), squeeze=False, sharey=True, layout="constrained"
    )
    for axis, (grid, those) in zip(axes[0], curves.items(), strict=True):
        for i, name in enumerate(sorted(those)):
            _errors(axis, those[name], name, styles[name], nudge=0.008 * (i - (len(those) - 1) / 2))
        axis.axhline(0, color="black", linewidth=0.8)
        _title(axis, f"{named(base)}, {grid}", those)
        scales = sorted({scale for curve in those.values() for scale, _ in curve})
        if len(scales) <= MAX_TICKS:
            axis.set_xticks(scales, [f"{scale:g}" for scale in scales])
        axis.set_xlabel("scale λ, the factor of the vector")
        axis.grid(axis="y", alpha=0.25)
    axes[0][0].set_ylabel("mean gain over RTN, percentage points\n(bars: 95 % interval)")
    _legend(figure, axes, columns=2)
    return figure


def _by_treatment(lines: list[Line]) -> dict[str, Curve]:
    """Curves with at least two scales that were set alike for all receivers, and the controls of these."""
    curves: dict[str, Curve] = {}
    for line in lines:
        if line.scale is not None and line.kind in ("vector", "control"):
            curves.setdefault(line.protocol.label_without_scale, []).append((line.scale, line))
    whole = {_vector(curve) for curve in curves.values() if len(curve) > 1}
    return {
        name: sorted(curve, key=lambda point: point[0]) for name, curve in curves.items() if _vector(curve) in whole
    }


def _vector(curve: Curve) -> tuple[Any, ...]:
    """The treatment without its control, so that a vector and its controls share it."""
    return (curve[0][1].treatment or ())[:-1]


def _styles(names: list[str], example: dict[str, Line]) -> dict[str, dict[str, Any]]:
    """Keyword arguments for a curve, by name: controls are grey and dashed, single donors have one fixed colour."""
    merges, controls = iter(MERGES * len(names)), iter(CONTROLS * len(names))
    styles: dict[str, dict[str, Any]] = {}
    for name in names:
        if example[name].kind == "control":
            styles[name] = {"color": next(controls), "linestyle": "--", "marker": "s", "markersize": 3.5}
        elif example[name].protocol.donors == "one":
            styles[name] = {"color": SINGLE, "marker": "D", "markersize": 4}
        else:
            styles[name] = {"color": next(merges), "marker": "o", "markersize": 4.5}
    return styles


def _errors(axis: Any, curve: Curve, label: str, style: dict[str, Any], nudge: float) -> None:
    summaries = [line.summary for _, line in curve]
    bars = zip(*(error_bars(each.mean, each.interval) for each in summaries), strict=True)
    means = [100 * each.mean for each in summaries]
    at = [scale + nudge for scale, _ in curve]  # keeps intervals at one scale apart
    axis.errorbar(at, means, yerr=[*bars], label=label, linewidth=1.4, elinewidth=0.9, capsize=2, **style)


def draw_bits(found: Measured) -> Any:
    """Draw mean accuracies in percent against the bits of a code, with intervals.

    Returns:
        A matplotlib figure, a row for each base and a panel for each kind of grid; None if all grids have one width.
    """
    from matplotlib import pyplot as plt

    panels: dict[tuple[str, str], dict[str, Curve]] = {}
    for base, grid in found.settings:
        bits, _, family = grid.partition("-")
        for line in found.main(base, grid):
            if line.kind not in ("control", "vector, chosen scale") and not line.other_grid:
                name = "RTN" if line.is_rtn else line.method
                there = panels.setdefault((base, family), {})
                there.setdefault(name, []).append((int(bits.removeprefix("int")), line))
    if len({bits for those in panels.values() for curve in those.values() for bits, _ in curve}) < 2:
        return None
    bases, families = (list(dict.fromkeys(names)) for names in zip(*panels, strict=True))
    size = (1.0 + 3.6 * len(families), 0.9 + 2.9 * len(bases))
    figure, axes = plt.subplots(
        len(bases), len(families), figsize=size, squeeze=False, sharey=True, layout="constrained"
    )
    order = list(dict.fromkeys(name for those in panels.values() for name in those))
    markers = dict(zip(order, MARKERS * len(order), strict=False))
    for i, base in enumerate(bases):
        for j, family in enumerate(families):
            _bits_panel(axes[i][j], panels.get((base, family), {}), markers, f"{named(base)}, {family}")
        axes[i][0].set_ylabel("mean top-1 accuracy, %\n(bars: 95 % interval)")
    for axis in axes[-1]:
        axis.set_xlabel("bits per weight")
    _legend(figure, axes, columns=3)
    return figure


def _bits_panel(axis: Any, curves: dict[str, Curve], markers: dict[str, str], title: str) -> None:
    """Widths are categories, so 8 bits stand beside 4; within a width, methods stand side by side."""
    widths = sorted({bits for curve in curves.values() for bits, _ in curve})
    order = list(markers)
    for name in (name for name in order if name in curves):
        curve = sorted(curves[name], key=lambda point: point[0])
        if curve[0][1].kind == "unquantized":
            axis.axhline(100 * curve[0][1].summary.accuracy, color=colour(curve[0][1]), linewidth=1, label=name)
            continue
        nudge = 0.5 * (order.index(name) - (len(order) - 1) / 2) / len(order)
        at = [widths.index(bits) + nudge for bits, _ in curve]
        summaries = [line.summary for _, line in curve]
        bars = zip(*(error_bars(each.accuracy, each.accuracy_interval) for each in summaries), strict=True)
        shares = [100 * each.accuracy for each in summaries]
        needs_none = curve[0][1].needs == "none"
        axis.errorbar(
            at, shares, yerr=[*bars], label=name, color=colour(curve[0][1]), linewidth=1.2, elinewidth=0.9,
            capsize=2, marker=markers[name], markersize=5, linestyle="-" if needs_none else "--",
        )  # fmt: skip
    axis.set_xticks(range(len(widths)), [str(bits) for bits in widths])
    axis.set_xlim(-0.5, max(0.5, len(widths) - 0.5))
    axis.set_ylim(0, 102)
    _title(axis, title, curves)
    axis.grid(axis="y", alpha=0.25)


def _legend(figure: Any, axes: Any, columns: int) -> None:
    """Draw one legend below all panels, with each curve once."""
    handles: dict[str, Any] = {}
    for axis in axes.flat:
        handles.update(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False, fontsize=8
    )


def _title(axis: Any, title: str, curves: dict[str, Curve]) -> None:
    """Draw a panel's title, and below it in small what its curves were counted on."""
    axis.set_title(title, loc="left", fontsize=10, pad=18)
    transfers = [transfer for curve in curves.values() for _, line in curve for transfer in line.transfers]
    if transfers:
        axis.text(0, 1.02, sample(transfers), transform=axis.transAxes, fontsize=8, color="#444444")
