"""A vector's evidence in its card's metadata: written as a headline and a table of all pairs, and read back.

The Hub's listing contains a card's metadata and no other file, so searches can rank vectors only by metadata.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult

from ...results.evidence import Evidence, Pair
from .values import as_count, as_number, parse_grid, short_text

__all__ = ["RESULTS", "TASK", "evidence_table", "headline_results", "read_evidence"]

TASK = "image-classification"
RESULTS = "quantization_vector_results"  # our own key in the YAML; see `evidence_table`
COLUMNS = ["receiver", "dataset", "grid", "seed", "scale", "n"]  # the first ones; a column for each method follows
RANDOM = "random"  # the column of the random vector, the control
# Limits on what is read of an untrusted card: exact means of fractions with large denominators take very long.
MAX_PAIRS = 1000
MAX_METHODS = 50
MAX_IMAGES = 10**9


def headline_results(evidence: Evidence) -> list[EvalResult]:
    """Make the ``model-index``: mean, best and worst gain in percentage points, and the win rate (%)."""
    grids = " and ".join(sorted({pair.grid.name for pair in evidence.pairs}))
    number = len({pair.receiver for pair in evidence.pairs})
    receivers = "1 receiver of another task" if number == 1 else f"{number} receivers of other tasks"
    best, worst = evidence.best, evidence.worst
    metrics = [
        ("mean_gain", evidence.mean_gain, "mean gain over plain rounding, percentage points"),
        ("win_rate", evidence.win_rate, "share of pairs with a gain, %"),
        ("best_gain", best.gain, f"best gain, percentage points: {best.receiver}"),
        ("worst_gain", worst.gain, f"worst gain, percentage points: {worst.receiver}"),
    ]
    return [
        EvalResult(
            task_type=TASK,
            dataset_type="receivers-of-other-tasks",
            dataset_name=f"{receivers} on {grids}",
            metric_type=metric_type,
            metric_value=round(100 * share, 4),
            metric_name=name,
        )
        for metric_type, share, name in metrics
    ]


def evidence_table(evidence: Evidence) -> dict[str, Any]:
    """Make the value of the key `RESULTS`: ``columns``, and in ``pairs`` a list of values for each pair.

    The columns are `COLUMNS`, then one for each method with its number of correct predictions, None if it was not
    counted in that pair.
    """
    methods = list(dict.fromkeys(method for pair in evidence.pairs for method in pair.correct))
    control = [RANDOM] if evidence.control is not None else []
    return {
        "columns": [*COLUMNS, *methods, *control],
        "pairs": [
            [pair.receiver, pair.dataset, pair.grid.name, pair.seed, pair.scale, pair.n]
            + [pair.correct.get(method) for method in methods]
            + [pair.random for _ in control]
            for pair in evidence.pairs
        ],
    }


def read_evidence(card_data: Mapping[str, Any], repo_id: str) -> Evidence | None:
    """Read the evidence in a card's metadata; None without any. Cards are untrusted: malformed values are ignored."""
    table = card_data.get(RESULTS)
    columns, rows = (table.get("columns"), table.get("pairs")) if isinstance(table, Mapping) else (None, None)
    if not isinstance(columns, list) or not isinstance(rows, list) or columns[: len(COLUMNS)] != COLUMNS:
        return None
    methods = [short_text(name) for name in columns[len(COLUMNS) :][:MAX_METHODS]]
    found = (_pair(row, methods) for row in rows[:MAX_PAIRS])
    pairs = tuple(pair for pair in found if pair is not None)
    return Evidence(repo_id, None, pairs) if pairs else None


def _pair(row: Any, methods: Sequence[str | None]) -> Pair | None:
    """Parse one pair of the table; None unless it has counts with the vector and without."""
    if not isinstance(row, list) or len(row) < len(COLUMNS):
        return None
    receiver, dataset, grid = short_text(row[0]), short_text(row[1]), parse_grid(row[2])
    seed, scale, n = as_count(row[3]), as_number(row[4]), as_count(row[5])
    if receiver is None or dataset is None or grid is None or seed is None or scale is None or n is None:
        return None
    if not 0 < n <= MAX_IMAGES:
        return None
    correct = {}
    for method, value in zip(methods, row[len(COLUMNS) :], strict=False):
        count = as_count(value)
        if method is not None and count is not None and count <= n:
            correct[method] = count
    random = correct.pop(RANDOM, None)
    return Pair(receiver, dataset, grid, seed, scale, n, correct, random) if {"ptq", "qvec"} <= correct.keys() else None
