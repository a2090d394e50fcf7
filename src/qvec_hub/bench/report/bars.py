"""A bar chart of the accuracy of every method, those that need the receiver's data included."""

from __future__ import annotations

from typing import Any

from ..stats.bootstrap import Interval
from .style import HATCHES, colour
from .text import named, percent, sample
from .treatments import Line, Measured

__all__ = ["draw_bars", "error_bars"]


def draw_bars(found: Measured, base: str) -> Any:
    """Draw the mean accuracies of all methods on a base: a matplotlib figure, a panel for each grid."""
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch

    grids = [grid for on, grid in found.settings if on == base]
    panels = [found.main(base, grid) for grid in grids]
    heights = [0.3 + 0.25 * len(lines) for lines in panels]
    figure, axes = plt.subplots(
        len(grids), 1, figsize=(8.6, sum(heights) + 0.75 * len(grids)), height_ratios=heights, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axis, grid, lines in zip(axes[:, 0], grids, panels, strict=True):
        _panel(axis, lines, f"{named(base)}, {grid}: {sample(t for line in lines for t in line.transfers)}")
    axes[-1][0].set_xlabel("mean top-1 accuracy, % (error bars: 95 % interval; dotted: plain rounding to this grid)")
    used = [data for data in HATCHES if data != "none" and any(line.needs == data for p in panels for line in p)]
    if used:
        patches = [
            Patch(facecolor="white", edgecolor="#444444", hatch=HATCHES[data], label=f"needs the receiver's {data}")
            for data in used
        ]
        figure.legend(handles=patches, loc="outside lower center", ncols=len(used), frameon=False, fontsize=8)
    return figure


def _panel(axis: Any, lines: list[Line], title: str) -> None:
    places = range(len(lines))
    shares = [100 * line.summary.accuracy for line in lines]
    axis.barh(
        places, shares, color=[colour(line) for line in lines], edgecolor="white", linewidth=0.6, height=0.78,
        hatch=[HATCHES[line.needs] for line in lines],
    )  # fmt: skip
    for place, line in zip(places, lines, strict=True):
        low, high = error_bars(line.summary.accuracy, line.summary.accuracy_interval)
        for ink, width in (("white", 2.6), ("black", 1.0)):  # the white edge shows them on a dark bar
            axis.errorbar(
                shares[place], place, xerr=[[low], [high]], color=ink, linewidth=width, capsize=2.5, capthick=width
            )
        axis.text(shares[place] + high + 1, place, percent(line.summary.accuracy), va="center", fontsize=8)
    rtn = next((line for line in lines if line.is_rtn), None)
    if rtn is not None:
        axis.axvline(100 * rtn.summary.accuracy, color="#6b6b6b", linewidth=0.9, linestyle=":")
    axis.set_yticks(places, [line.method for line in lines], fontsize=8.5)
    axis.invert_yaxis()
    axis.set_xlim(0, 108)
    axis.set_xticks(range(0, 101, 20))
    axis.set_title(title, loc="left", fontsize=10)
    axis.tick_params(axis="y", length=0)


def error_bars(mean: float, interval: Interval | None) -> tuple[float, float]:
    """How far the interval of a mean reaches below and above it, in percentage points; 0 without an interval."""
    if interval is None:
        return 0.0, 0.0
    return 100 * max(0.0, mean - interval.low), 100 * max(0.0, interval.high - mean)
