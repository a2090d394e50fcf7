"""Which donor helps which receiver: gains of single donors, tasks by tasks."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import Any

from .lines import Measured
from .text import named

__all__ = ["draw_heatmap"]

MAX_NAME = 24  # characters of a task's name on an axis
Cells = dict[tuple[str, str], list[float]]  # gains in points, of several seeds, by receiver's and donor's task


def draw_heatmap(found: Measured, base: str, grid: str) -> Any:
    """A matplotlib figure of mean gains in points, donors in columns; None without single donors.

    The diagonal, hatched, is a task's own vector: a ceiling. It does not set the colours.
    """
    line = found.single(base, grid)
    if line is None or line.protocol is None:
        return None
    same = replace(line.protocol, own=True)
    own = [transfer for other in found.lines if other.protocol == same for transfer in other.transfers]
    cells: Cells = {}
    for transfer in [*line.transfers, *own]:
        donor = transfer.donor_task or transfer.donor or ""
        cells.setdefault((transfer.task, donor), []).append(100 * transfer.gain)
    rows = sorted({receiver for receiver, _ in cells})
    columns = sorted({donor for _, donor in cells})
    return _draw(cells, rows, columns, f"Gain over RTN, points: {named(line.method)}\n{named(base)}, {grid}")


def _draw(cells: Cells, rows: list[str], columns: list[str], title: str) -> Any:
    import numpy as np
    from matplotlib import pyplot as plt
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.patches import Rectangle

    values = np.array([[fmean(cells[r, c]) if (r, c) in cells else np.nan for c in columns] for r in rows])
    across = [value for (r, c), gains in cells.items() if r != c for value in gains]
    limit = max(1.0, *map(abs, across)) if across else 1.0
    side = 0.42 if len(columns) > 12 else 0.55
    figure, axis = plt.subplots(figsize=(2.6 + side * len(columns), 1.9 + side * 0.8 * len(rows)))
    shown = axis.imshow(values, cmap="RdBu", norm=TwoSlopeNorm(0, -limit, limit), aspect="auto")
    for i, receiver in enumerate(rows):
        for j, donor in enumerate(columns):
            if not np.isfinite(values[i, j]):
                continue
            strong = abs(values[i, j]) > 0.62 * limit
            axis.text(j, i, _number(values[i, j]), ha="center", va="center", fontsize=7.5,
                      color="white" if strong else "black", zorder=3)  # fmt: skip
            if receiver == donor:
                box = Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor="#e8e8e8", edgecolor="#8a8a8a", hatch="////", lw=0)
                axis.add_patch(box)
                axis.texts[-1].set(color="black", bbox={"facecolor": "#e8e8e8", "edgecolor": "none", "pad": 1.2})
    axis.set_xticks(range(len(columns)), [_short(name) for name in columns], rotation=50, ha="right",
                    rotation_mode="anchor")  # fmt: skip
    axis.set_yticks(range(len(rows)), [_short(name) for name in rows])
    hatched = " (hatched: the receiver's own, a ceiling)" if set(rows) & set(columns) else ""
    axis.set(xlabel=f"donor's task{hatched}", ylabel="receiver's task")
    axis.set_title(title, loc="left", fontsize=10)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    bar = figure.colorbar(shown, ax=axis, pad=0.015, fraction=0.04)
    bar.outline.set_visible(False)
    bar.set_label("points")
    return figure


def _number(value: float) -> str:
    text = f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.1f}"
    return text.replace("-0.0", "0.0").replace("-", "−")


def _short(name: str) -> str:
    name = named(name)
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
