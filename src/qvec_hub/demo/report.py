"""The demo's table and its picture of accuracy against scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..bench import Row
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
    """Accuracy against scale, one panel a receiver: the mean of the others, single donors, and the control."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    receivers = list(dict.fromkeys(_task(row) for row in rows))
    size = (3.1 * len(receivers), 3.4)
    figure, axes = plt.subplots(1, len(receivers), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axis, receiver in zip(axes[0], receivers, strict=True):
        for column, colour, label in [
            ("mean", "#0072b2", "mean of the other donors"),
            ("random", "#999999", "random, same norm"),
        ]:
            measured = [*_of(rows, receiver, "ptq"), *_of(rows, receiver, column)]  # without a vector is scale 0
            curve = sorted((row.scale or 0.0, row.top1) for row in measured)
            axis.plot(*zip(*curve, strict=True), color=colour, marker="o", markersize=3, label=label)
        single = _of(rows, receiver, "donor")
        axis.plot(
            [row.scale for row in single], [row.top1 for row in single],
            color="#d55e00", marker="D", markersize=4, linestyle="none", label="one donor",
        )  # fmt: skip
        for column, style, label in [
            ("fp", "-", "FP"),
            ("own_qat", "--", "own QAT"),
            (BEST, "-.", "default"),
            ("ptq", ":", "RTN"),
        ]:
            correct, n = _pooled(rows, receiver, column)
            axis.axhline(correct / n, color="black", linewidth=0.9, linestyle=style, label=label)
        axis.set(title=receiver, xlabel="scale λ", ylim=(0, 1.02))
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel(f"test accuracy at {settings.weights}")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)


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
