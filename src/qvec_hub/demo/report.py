"""The demo's table and its figure of accuracy against scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..results.row import Row
from .run import BEST, DemoSettings

__all__ = ["HEADER", "draw", "table"]

HEADER = ["receiver", "FP", "RTN", "+ one donor", "+ mean of others", "+ random", "default", "own QAT"]
COLUMNS = ["fp", "ptq", "donor", "mean", "random", BEST, "own_qat"]


def table(rows: Sequence[Row], settings: DemoSettings) -> list[list[str]]:
    """One line per receiver and their mean: ``accuracy (correct/n)``. One donor: all other tasks' donors, pooled.

    Default: what the loader makes of the other vectors where nothing else is asked for.
    """
    rows = [row for row in rows if _column(row) not in ("mean", "random") or row.scale == settings.scale]
    receivers = list(dict.fromkeys(_task(row) for row in rows))
    lines = []
    for receiver in receivers:
        cells = [_pooled(rows, receiver, column) for column in COLUMNS]
        lines.append([receiver, *(f"{correct / n:.3f} ({correct}/{n})" for correct, n in cells)])
    means = [_mean(rows, receivers, column) for column in COLUMNS]
    return [*lines, ["mean", *(f"{value:.3f}" for value in means)]]


def draw(rows: Sequence[Row], settings: DemoSettings, path: Path) -> None:
    """Accuracy against scale, one panel a receiver: the mean of the others, single donors, the default, the control."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    receivers = list(dict.fromkeys(_task(row) for row in rows))
    size = (3.1 * len(receivers) + 0.4, 3.8)
    figure, axes = plt.subplots(1, len(receivers), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axis, receiver in zip(axes[0], receivers, strict=True):
        _panel(axis, rows, receiver)
    axes[0][0].set_ylabel("top-1 accuracy on test images, %")
    handles, labels = axes[0][0].get_legend_handles_labels()
    columns = len(labels) if len(receivers) > 4 else len(receivers)  # so that it is no wider than the panels
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    others = len(receivers) - 1
    figure.suptitle(
        f"Receivers rounded to {settings.weights}, each with the vectors of the {others} other tasks"
        if others > 1
        else f"Receivers rounded to {settings.weights}, each with the other task's vector",
        fontsize=10,
    )
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(axis: Any, rows: Sequence[Row], receiver: str) -> None:
    for column, style, label in [("fp", "-", "FP"), ("own_qat", "--", "own QAT"), ("ptq", ":", "RTN")]:
        correct, n = _pooled(rows, receiver, column)
        axis.axhline(100 * correct / n, color="#444444", linewidth=0.9, linestyle=style, label=label)
    for column, colour, label in [
        ("mean", "#0072b2", "mean of the others, nearest rounding"),
        ("random", "#999999", "random vector of its norms"),
    ]:
        measured = [*_of(rows, receiver, "ptq"), *_of(rows, receiver, column)]  # without a vector is scale 0
        curve = sorted((row.scale or 0.0, 100 * row.top1) for row in measured)
        axis.plot(*zip(*curve, strict=True), color=colour, marker="o", markersize=3, label=label)
    for column, colour, marker, size, label in [
        ("donor", "#d55e00", "D", 4, "one donor"),
        (BEST, "#009e73", "*", 12, "default: mean, chosen λ, tuned rounding"),
    ]:
        points = [(row.scale, 100 * row.top1) for row in _of(rows, receiver, column)]
        axis.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=size, markeredgecolor="white",
                  markeredgewidth=0.5, linestyle="none", label=label, zorder=4)  # fmt: skip
    default = _of(rows, receiver, BEST)[0]
    axis.set_title(f"{receiver} ({default.n:,} images)", fontsize=10, pad=18)
    found = f"default: λ = {default.scale:g}, {100 * default.top1:.1f} %"
    axis.text(0.5, 1.025, found, transform=axis.transAxes, ha="center", color="#006b4e", fontsize=8.5)
    axis.set(xlabel="scale λ, the factor of the vector", ylim=(0, 102))
    axis.grid(alpha=0.25)


def _task(row: Row) -> str:
    return row.dataset.removeprefix("zoo:")


def _column(row: Row) -> str:
    """Where a row belongs in the table; with two tasks, the mean of the others is a mean of one."""
    if row.method != "qvec":
        return row.method
    if row.control:
        return row.control if row.merge else f"donor {row.control}"
    return "donor" if row.merge is None else "mean"


def _of(rows: Sequence[Row], receiver: str, column: str) -> list[Row]:
    return [row for row in rows if (_task(row), _column(row)) == (receiver, column)]


def _pooled(rows: Sequence[Row], receiver: str, column: str) -> tuple[int, int]:
    chosen = _of(rows, receiver, column)
    return sum(row.correct for row in chosen), sum(row.n for row in chosen)


def _mean(rows: Sequence[Row], receivers: Sequence[str], column: str) -> float:
    cells = [_pooled(rows, receiver, column) for receiver in receivers]
    return sum(correct / n for correct, n in cells) / len(cells)
