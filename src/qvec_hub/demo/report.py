"""The demo's table and its figure of accuracy against scale, one receiver at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from ..bench.context import Context
from ..bench.report.style import CONTROLS, KIND_COLOURS, MERGED, SINGLE
from ..bench.report.treatments import Line, Measured, measured
from ..results.row import Row

__all__ = ["HEADER", "draw", "table"]

# The table's columns, and the lines of a benchmark's report that they show.
COLUMNS = {
    "FP": "FP",
    "RTN": "RTN",
    "+ one donor": "one donor, recommended λ",
    "+ mean of others": "mean of others, λ = 1",
    "+ random": "random control of mean of others, λ = 1",
    "default": "mean of others, automatic λ, then fitted on proxy images",
    "own QAT": "own QAT",
}
HEADER = ["receiver", *COLUMNS]

Lines = Mapping[str, Line]  # by column


def table(rows: Sequence[Row]) -> list[list[str]]:
    """One line per receiver and their mean: ``accuracy (correct/n)``. One donor: all other tasks' donors, pooled.

    Default: what the loader makes of the other vectors where nothing else is asked for.
    """
    lines = _lines(measured(rows, Context()))
    cells = {task: [_pooled(lines[column], task) for column in COLUMNS] for task in _tasks(lines)}
    means = [fmean(correct / n for correct, n in column) for column in zip(*cells.values(), strict=True)]
    return [
        *([task, *(f"{correct / n:.3f} ({correct}/{n})" for correct, n in line)] for task, line in cells.items()),
        ["mean", *(f"{mean:.3f}" for mean in means)],
    ]


def draw(rows: Sequence[Row], path: Path) -> None:
    """Accuracy against scale, one panel a receiver: the mean of the others, single donors, the default, the control."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = measured(rows, Context())
    lines = _lines(found)
    tasks = _tasks(lines)
    size = (3.1 * len(tasks) + 0.4, 3.8)
    figure, axes = plt.subplots(1, len(tasks), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axis, task in zip(axes[0], tasks, strict=True):
        _panel(axis, found, lines, task)
    axes[0][0].set_ylabel("top-1 accuracy on test images, %")
    handles, labels = axes[0][0].get_legend_handles_labels()
    columns = len(labels) if len(tasks) > 4 else len(tasks)  # so that it is no wider than the panels
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    others = f"vectors of the {len(tasks) - 1} other tasks" if len(tasks) > 2 else "other task's vector"
    figure.suptitle(f"Receivers rounded to {lines['RTN'].grid}, each with the {others}", fontsize=10)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(axis: Any, found: Measured, lines: Lines, task: str) -> None:
    for column, style in [("FP", "-"), ("own QAT", "--"), ("RTN", ":")]:
        axis.axhline(_share(lines[column], task), color="#444444", linewidth=0.9, linestyle=style, label=column)
    for column, colour, label in [
        ("+ mean of others", MERGED, "mean of the others, nearest rounding"),
        ("+ random", CONTROLS[0], "random vector of its norms"),
    ]:
        alike = [line for line in found.lines if line.treatment == lines[column].treatment]
        curve = [(0.0, _share(lines["RTN"], task)), *((line.scale, _share(line, task)) for line in alike)]
        axis.plot(*zip(*curve, strict=True), color=colour, marker="o", markersize=3, label=label)
    for column, colour, marker, size, label in [
        ("+ one donor", SINGLE, "D", 4, "one donor"),
        ("default", KIND_COLOURS["proxy images"], "*", 12, "default: mean, chosen λ, fitted rounding"),
    ]:
        points = [(row.scale, 100 * row.top1) for row in _of(lines[column], task)]
        axis.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=size, markeredgecolor="white",
                  markeredgewidth=0.5, linestyle="none", label=label, zorder=4)  # fmt: skip
    (default,) = _of(lines["default"], task)
    axis.set_title(f"{task} ({default.n:,} images)", fontsize=10, pad=18)
    chosen = f"default: λ = {default.scale:g}, {100 * default.top1:.1f} %"
    axis.text(0.5, 1.025, chosen, transform=axis.transAxes, ha="center", color="#006b4e", fontsize=8.5)
    axis.set(xlabel="scale λ, the factor of the vector", ylim=(0, 102))
    axis.grid(alpha=0.25)


def _lines(found: Measured) -> Lines:
    named = {"RTN" if line.is_rtn else line.method: line for line in found.lines}
    return {column: named[method] for column, method in COLUMNS.items()}


def _tasks(lines: Lines) -> list[str]:
    """Tasks of the receivers, as counted."""
    return list(dict.fromkeys(transfer.task for transfer in lines["RTN"].transfers))


def _of(line: Line, task: str) -> list[Row]:
    return [transfer.row for transfer in line.transfers if transfer.task == task]


def _pooled(line: Line, task: str) -> tuple[int, int]:
    rows = _of(line, task)
    return sum(row.correct for row in rows), sum(row.n for row in rows)


def _share(line: Line, task: str) -> float:
    correct, n = _pooled(line, task)
    return 100 * correct / n
