"""A vector's evidence as the ``model-index`` of its card, and back. Counts travel along, so nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from huggingface_hub import EvalResult

from ..bench import Evidence, Pair
from ..errors import GridError
from ..grids import Grid

__all__ = ["TASK", "eval_results", "read_evidence"]

TASK = "image-classification"
WITH_VECTOR = ("qvec", "random")
FLOAT_BITS = 32
MAX_METRICS = 10_000  # a stranger's card is not read for ever


def eval_results(evidence: Evidence) -> list[EvalResult]:
    """One result per pair and method; bits, grid, scale and counts in the metric's arguments."""
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=pair.dataset,
            dataset_name=pair.dataset,
            metric_type="accuracy",
            metric_name=f"accuracy ({method})",
            metric_value=round(correct / pair.n, 6),
            metric_args=_arguments(pair, method, correct),
        )
        for pair in evidence.pairs
        for method, correct in {**pair.correct, "random": pair.random}.items()
        if correct is not None
    ]


def _arguments(pair: Pair, method: str, correct: int) -> dict[str, Any]:
    """What a number belongs to: plain rounding is scale 0; `grid` is that of the comparison also for a float model."""
    return {
        "method": method,
        "bits": FLOAT_BITS if method == "fp" else pair.grid.bits,
        "grid": pair.grid.name,
        "scale": pair.scale if method in WITH_VECTOR else 0.0,
        "receiver": pair.receiver,
        "seed": pair.seed,
        "n": pair.n,
        "correct": correct,
    }


def read_evidence(card_data: Mapping[str, Any], repo_id: str) -> Evidence | None:
    """The evidence in a card's metadata; what is not of our form counts as nothing, for a card may hold anything."""
    counts: dict[tuple[Any, ...], dict[str, int]] = {}
    scales: dict[tuple[Any, ...], float] = {}
    for number, (dataset, arguments) in enumerate(_metrics(card_data.get("model-index"))):
        if number == MAX_METRICS:
            break
        read = _counted(dataset, arguments)
        if read is not None:
            setting, method, scale, correct = read
            counts.setdefault(setting, {})[method] = correct
            if method == "qvec":
                scales[setting] = scale
    pairs = tuple(
        Pair(receiver, dataset, grid, seed, scales[setting], n, {m: c for m, c in of.items() if m != "random"},
             of.get("random"))
        for setting, of in counts.items()
        if "ptq" in of and "qvec" in of
        for receiver, dataset, grid, seed, n in [setting]
    )  # fmt: skip
    return Evidence(repo_id, None, pairs) if pairs else None


def _metrics(index: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Dataset and arguments of every metric in a ``model-index``."""
    for model in _items(index):
        for result in _items(model.get("results")):
            dataset = result.get("dataset")
            name = dataset.get("type") if isinstance(dataset, dict) else None
            for metric in _items(result.get("metrics")):
                if isinstance(name, str) and isinstance(metric.get("args"), dict):
                    yield name, metric["args"]


def _items(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _counted(dataset: str, arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...], str, float, int] | None:
    """Setting, method, scale and count of one metric; None when it is not of our form."""
    names = [arguments.get(key) for key in ("receiver", "method", "grid")]
    counts = [arguments.get(key) for key in ("seed", "n", "correct")]
    scale = arguments.get("scale")
    if not all(isinstance(name, str) for name in names) or isinstance(scale, bool):
        return None
    if any(isinstance(count, bool) or not isinstance(count, int) for count in counts):
        return None
    (receiver, method, grid), (seed, n, correct) = map(str, names), map(int, counts)  # type: ignore[arg-type]
    if not isinstance(scale, (int, float)) or n < 1 or not 0 <= correct <= n:
        return None
    try:
        return (receiver, dataset, Grid.parse(grid), seed, n), method, float(scale), correct
    except (GridError, OverflowError):
        return None
