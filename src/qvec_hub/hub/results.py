"""A vector's evidence as the ``model-index`` of its card, and back. Counts travel along, so nothing is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from huggingface_hub import EvalResult

from ..bench import Evidence, Pair
from ..grids import Grid
from .values import as_count, as_number, parse_grid, short_text

__all__ = ["TASK", "eval_results", "read_evidence"]

TASK = "image-classification"
WITH_VECTOR = ("qvec", "random")
FLOAT_BITS = 32
# A stranger's card is not read for ever, nor are means of fractions with endless denominators formed of it.
MAX_METRICS = 2000
MAX_IMAGES = 10**9


class _Setting(NamedTuple):
    """What the counts of one pair have in common; `repeat` tells pairs apart that agree in all the rest."""

    receiver: str
    dataset: str
    grid: Grid
    seed: int
    n: int
    repeat: int = 0


@dataclass
class _Counts:
    correct: dict[str, int] = field(default_factory=dict)
    scale: float | None = None


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
            metric_args=_arguments(pair, method, correct, repeat),
        )
        for pair, repeat in _numbered(evidence.pairs)
        for method, correct in {**pair.correct, "random": pair.random}.items()
        if correct is not None
    ]


def _numbered(pairs: tuple[Pair, ...]) -> Iterator[tuple[Pair, int]]:
    """Each pair with the number of pairs before it that look the same: of another suite, split or revision."""
    seen: Counter[_Setting] = Counter()
    for pair in pairs:
        setting = _Setting(pair.receiver, pair.dataset, pair.grid, pair.seed, pair.n)
        yield pair, seen[setting]
        seen[setting] += 1


def _arguments(pair: Pair, method: str, correct: int, repeat: int) -> dict[str, Any]:
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
        **({"repeat": repeat} if repeat else {}),
    }


def read_evidence(card_data: Mapping[str, Any], repo_id: str) -> Evidence | None:
    """The evidence in a card's metadata; what is not of our form counts as nothing, for a card may hold anything."""
    found: dict[_Setting, _Counts] = {}
    for number, (dataset, arguments) in enumerate(_metrics(card_data.get("model-index"))):
        if number == MAX_METRICS:
            break
        _count(found, dataset, arguments)
    pairs = tuple(
        Pair(s.receiver, s.dataset, s.grid, s.seed, counts.scale, s.n, _without_random(counts),
             counts.correct.get("random"))
        for s, counts in found.items()
        if counts.scale is not None and {"ptq", "qvec"} <= counts.correct.keys()
    )  # fmt: skip
    return Evidence(repo_id, None, pairs) if pairs else None


def _without_random(counts: _Counts) -> dict[str, int]:
    return {method: correct for method, correct in counts.correct.items() if method != "random"}


def _metrics(index: Any) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Dataset and arguments of every metric in a ``model-index``."""
    for model in _items(index):
        for result in _items(model.get("results")):
            dataset = result.get("dataset")
            name = dataset.get("type") if isinstance(dataset, dict) else None
            for metric in _items(result.get("metrics")):
                if isinstance(metric.get("args"), dict):
                    yield name, metric["args"]


def _items(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _count(found: dict[_Setting, _Counts], dataset: Any, arguments: Mapping[str, Any]) -> None:
    """Add one metric to the counts, if it is of our form."""
    receiver, method = short_text(arguments.get("receiver")), short_text(arguments.get("method"))
    name, grid, scale = short_text(dataset), parse_grid(arguments.get("grid")), as_number(arguments.get("scale"))
    seed, n, correct = (as_count(arguments.get(key)) for key in ("seed", "n", "correct"))
    repeat = as_count(arguments.get("repeat", 0))
    if receiver is None or method is None or name is None or grid is None or scale is None:
        return
    if seed is None or n is None or correct is None or repeat is None:
        return
    if not correct <= n <= MAX_IMAGES or n == 0:
        return
    counts = found.setdefault(_Setting(receiver, name, grid, seed, n, repeat), _Counts())
    counts.correct[method] = correct
    if method == "qvec":
        counts.scale = scale
