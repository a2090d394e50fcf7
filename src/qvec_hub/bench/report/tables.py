"""The tables of a report, in Markdown. Names are untrusted; none can leave its cell."""

from __future__ import annotations

from collections.abc import Sequence

from ...hub.cards.markdown import counted, points, table
from ..context import Context
from ..stats.permutation import gain_by_similarity
from ..stats.similarity import by_similarity
from ..stats.summary import Summary
from ..stats.transfer import Transfer
from .text import between, code, percent
from .treatments import Line, Measured

__all__ = ["ceilings_table", "donors_table", "failures_table", "methods_table", "scales_table", "similarity_table"]

GAINS = ["mean gain", "95 % interval", "median", "win rate, %", "recovery, %", "worst", "pairs"]
MAX_FAILURES = 20  # of one method; the leaderboard has all of them


def methods_table(found: Measured, base: str, grid: str) -> str:
    """Tabulate every method on a base and grid; gains are percentage points over plain rounding to this grid."""
    header = ["method", "receiver data", "accuracy, %", *GAINS]
    return table(header, [_method(line) for line in found.main(base, grid)])


def ceilings_table(found: Measured, base: str, grid: str) -> str:
    """Tabulate own training and vectors of the receivers' own tasks; empty without any."""
    own = [line for line in found.of(base, grid) if line.kind == "own training"]
    return table(["ceiling", "receiver data", "accuracy, %", *GAINS], [_method(line) for line in own]) if own else ""


def scales_table(found: Measured, base: str, grid: str) -> str:
    """Tabulate gains at every scale that was set by hand or is 1; empty if no scale was set by hand."""
    lines = [line for line in found.of(base, grid) if line.scale is not None and line.kind in ("vector", "control")]
    if not any(line.by_hand for line in lines):
        return ""
    return table(["method", "accuracy, %", *GAINS], [[line.method, *_numbers(line.summary)] for line in lines])


def donors_table(donors: Sequence[Line], context: Context) -> str:
    """Tabulate single donors, the best first; empty without any."""
    best = sorted(donors, key=lambda line: -line.summary.mean)
    rows = [
        [code(line.method), code(task) if (task := context.donor_task(line.method)) else "–", *_gains(line.summary)]
        for line in best
    ]
    return table(["donor", "its task", *GAINS], rows) if rows else ""


def similarity_table(line: Line, context: Context) -> str:
    """Tabulate near and far tasks, and say whether similarity matters; empty if similarities are not recorded."""
    parts = by_similarity(line.transfers, context)
    if len(parts) < 2:
        return ""
    rows = [[label, percent(summary.accuracy), *_gains(summary)] for label, summary in parts.items()]
    text = table(["donor's task", "accuracy, %", *GAINS], rows)
    test = gain_by_similarity(line.transfers, context)
    if test is None:
        return text
    shown = "is related" if test.p < 0.05 else "cannot be shown to be related"
    return (
        f"{text}\n\nThe gain {shown} to how similar the two tasks look to the base: Spearman's ρ = {test.rho:.2f}, "
        f"p = {test.p:.2g} (task labels permuted jointly, {counted(test.n_pairs, 'pair')} of {test.n_tasks} tasks)."
    )


def failures_table(lines: Sequence[Line]) -> str:
    """Tabulate receivers that a vector harmed, the worst of each method first; a sentence if there are none."""
    parts = [(line, line.summary.failures) for line in lines if line.kind in ("vector", "vector, chosen scale")]
    rows = [_failure(line, transfer) for line, failures in parts for transfer in failures[:MAX_FAILURES]]
    if not rows:
        return "None: no receiver lost accuracy to a vector."
    more = [f"{line.method}: {len(f) - MAX_FAILURES} more" for line, f in parts if len(f) > MAX_FAILURES]
    header = ["method", "receiver", "donors", "gain", "right", "RTN right", "seed"]
    return table(header, rows) + (f"\n\nNot shown here: {', '.join(more)}; the leaderboard has all." if more else "")


def _failure(line: Line, transfer: Transfer) -> list[str]:
    row = transfer.row
    donors = code(transfer.donor) if transfer.donor else counted(len(row.donors), "donor")
    counts = [f"{count} of {row.n}" for count in (transfer.correct, transfer.ptq.correct)]
    return [line.method, code(row.receiver), donors, points(transfer.gain), *counts, str(row.seed)]


def _method(line: Line) -> list[str]:
    numbers = [percent(line.summary.accuracy), *["–"] * 6, str(line.summary.n_pairs)] if line.is_rtn else None
    return [line.method, line.needs, *(numbers or _numbers(line.summary))]


def _numbers(summary: Summary) -> list[str]:
    return [percent(summary.accuracy), *_gains(summary)]


def _gains(summary: Summary) -> list[str]:
    return [
        points(summary.mean),
        between(summary.interval),
        points(summary.median),
        percent(summary.win_rate),
        percent(summary.recovery),
        points(summary.worst.gain),
        str(summary.n_pairs),
    ]
