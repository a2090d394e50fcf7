"""A heatmap of the gains of single donors: receivers by donors' tasks."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor
from statistics import fmean
from typing import Any

from .style import diverging, on_background
from .text import named, sample
from .treatments import Measured

__all__ = ["draw_heatmap"]

MAX_NAME = 24  # characters of a task's name on an axis
IN_RANGE = 98  # percent of the cells within the colour range; a few outliers would make all others pale
Cells = dict[tuple[str, str], list[float]]  # gains in points, of several seeds, by receiver and donor's task


def draw_heatmap(found: Measured, base: str, grid: str) -> Any:
    """Draw mean gains in percentage points, a row for each receiver and a column for each donor's task.

    The hatched cells are of a receiver's own task, a ceiling; they do not influence the colours.

    Returns:
        A matplotlib figure; None if no single donors were measured.
    """
    line = found.single(base, grid)
    if line is None:
        return None
    same = replace(line.protocol, own=True)
    own = [transfer for other in found.lines if other.protocol == same for transfer in other.transfers]
    cells: Cells = {}
    for transfer in [*line.transfers, *own]:
        donor = transfer.donor_task or transfer.donor or ""
        cells.setdefault((transfer.receiver, donor), []).append(100 * transfer.gain)
    tasks = {transfer.receiver: transfer.task for transfer in [*line.transfers, *own]}
    columns = sorted({donor for _, donor in cells})
    about = f"{named(base)}, {grid}, {named(line.method)}"
    return _draw(cells, tasks, columns, f"{about}\n{sample(line.transfers)}")


def _draw(cells: Cells, tasks: dict[str, str], columns: list[str], title: str) -> Any:
    """Draw the cells, a row for each of the receivers in `tasks`, which tells the task of each."""
    import numpy as np
    from matplotlib import pyplot as plt
    from matplotlib.colors import Normalize

    rows = sorted(tasks)
    values = np.array([[fmean(cells[r, c]) if (r, c) in cells else np.nan for c in columns] for r in rows])
    own = np.array([[tasks[receiver] == donor for donor in columns] for receiver in rows])
    across = values[~own & np.isfinite(values)]
    limit = _limit(across)
    side = 0.42 if len(columns) > 12 else 0.55
    size = (2.6 + side * len(columns), 1.9 + side * 0.8 * len(rows))
    figure, axis = plt.subplots(figsize=size)
    shown = axis.imshow(np.where(own, np.nan, values), cmap=diverging(), norm=Normalize(-limit, limit), aspect="auto")
    for i, j in np.argwhere(np.isfinite(values)):
        _cell(axis, i, j, values[i, j], None if own[i, j] else shown.to_rgba(values[i, j]))
    axis.set_xticks(range(len(columns)), [_short(name) for name in columns], rotation=50, ha="right",
                    rotation_mode="anchor")  # fmt: skip
    axis.set_yticks(range(len(rows)), [_short(name) for name in rows])
    hatched = " (hatched: the receiver's own, a ceiling)" if own.any() else ""
    axis.set(xlabel=f"donor's task{hatched}", ylabel="receiver")
    axis.set_title(title, loc="left", fontsize=10)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    beyond = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    bar = figure.colorbar(shown, ax=axis, pad=0.015, fraction=0.04, format=lambda value, _: _number(value),
                          extend=beyond[bool((across < -limit).any()), bool((across > limit).any())])  # fmt: skip
    bar.outline.set_visible(False)
    bar.set_label("gain over plain rounding (RTN),\npercentage points")
    return figure


def _limit(gains: Any) -> float:
    """The end of the colour range, in points, for gains and losses alike; whole, and a multiple of 5 above 5."""
    import numpy as np

    reached = float(np.percentile(np.abs(gains), IN_RANGE)) if len(gains) else 1.0
    step = 5 if reached > 5 else 1
    return max(1, step * ceil(reached / step))


def _cell(axis: Any, i: int, j: int, value: float, background: Any) -> None:
    """Write a number into a cell; on a hatched box if the cell has no background colour."""
    from matplotlib.patches import Rectangle

    text = axis.text(j, i, _number(value), ha="center", va="center", fontsize=8, zorder=3)
    if background is not None:
        text.set_color(on_background(background))
        return
    box = Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor="#ededed", edgecolor="#a0a0a0", hatch="////", lw=0)
    axis.add_patch(box)
    text.set_bbox({"facecolor": "#ededed", "edgecolor": "none", "pad": 1.2})


def _number(value: float) -> str:
    """A whole number with its sign, such as ``"+4"``, ``"−12"`` or ``"0"``."""
    whole = floor(abs(value) + 0.5)  # rounds halves away from zero, for both signs
    return "0" if whole == 0 else f"{'−' if value < 0 else '+'}{whole}"


def _short(name: str) -> str:
    name = named(name)
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
