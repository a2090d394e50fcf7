"""The results in a vector's card: a summary, the table of counts, and the failures."""

from __future__ import annotations

from ...results.evidence import Evidence, Mean, Pair
from .front_matter import hub_id
from .markdown import counted, linked, plain, points, table

__all__ = ["failures", "headline", "results_table"]

# Columns in their order; those of calibrated methods follow.
KNOWN = {
    "fp": "FP (not rounded)",
    "ptq": "rounded",
    "qvec": "**with this vector**",
    "random": "random vector",
    "own_qat": "own QAT",
}


def headline(evidence: Evidence | None, bits: float) -> str:
    """Summarize the results in a sentence or a few; says so if the vector was not measured or did not help."""
    if evidence is None:
        return "**Not measured yet:** its author has published no results."
    before, after = evidence.accuracy["ptq"].value, evidence.accuracy["qvec"].value
    sentence = (
        f"**Measured:** on {counted(evidence.n_pairs, 'receiver')} of other tasks, mean accuracy at {bits} bits went "
        f"from {before:.3f} (plain rounding) to {after:.3f} with this vector alone: {points(evidence.mean_gain)} "
        f"points, better in {evidence.wins} of {evidence.n_pairs}."
    )
    if evidence.mean_gain <= 0:
        sentence += " **On these it did not help.**"
    if (control := evidence.control) is not None:
        sentence += f" A random vector of the same size brought {points(control.value)} points."
    for method, mean in _everywhere(evidence).items():
        if method not in KNOWN:
            sentence += f" {method.upper()}, which needs images of the receiver's task, reached {mean.value:.3f}."
    return sentence


def results_table(evidence: Evidence | None, repo_id: str) -> str:
    """Write the table of all pairs with accuracies (0 to 1) and counts, the means, and notes on what was counted."""
    if evidence is None:
        return "Nothing yet. To measure it: `qvec eval` on receivers you have images for, with the vector and without."
    calibrated = {m: f"{m.upper()} (uses receiver images)" for m in evidence.accuracy if m not in KNOWN}
    present = [*evidence.accuracy, "random" if evidence.control is not None else ""]
    methods = {**{method: name for method, name in KNOWN.items() if method in present}, **calibrated}
    header = ["receiver", "λ", *methods.values(), "gain, points"]
    rows = [
        [_receiver(pair), f"{pair.scale:g}", *(_cell(pair, method) for method in methods), points(pair.gain)]
        for pair in evidence.pairs
    ]
    rows.append(["**mean**", "", *(_mean(evidence, method) for method in methods), f"**{points(evidence.mean_gain)}**"])
    grids = sorted({pair.grid.name for pair in evidence.pairs})
    notes = [
        f"Accuracy on test images (right/shown), weights on {' and '.join(f'`{grid}`' for grid in grids)}, this vector "
        "alone at scale λ. None of these receivers is of the vector's own task, and no image of theirs was used.",
        f"Median gain {points(evidence.median_gain)} points, win rate {evidence.win_rate:.0%}, worst "
        f"{points(evidence.worst.gain)} ({plain(evidence.worst.receiver)}).",
        "*Own QAT*, the receiver's own quantization-aware training, is what its training data would have bought."
        if "own_qat" in methods
        else "",
        "" if calibrated else "No calibrated baseline (GPTQ, AWQ) was measured on these receivers.",
    ]
    return table(header, rows) + "\n\n" + "\n".join(note for note in notes if note)


def failures(evidence: Evidence | None) -> list[str]:
    """Write a list item for each pair in which the vector harmed, or one that says why there is none."""
    if evidence is None:
        return ["- It has not been measured yet, so it is not known where it fails."]
    if not evidence.failures:
        return [f"- It harmed none of the {counted(evidence.n_pairs, 'receiver')} it was measured on."]
    return [
        f"- It harmed {plain(pair.receiver)}: {pair.correct['ptq']}/{pair.n} right without it, "
        f"{pair.correct['qvec']}/{pair.n} with it ({points(pair.gain)} points)."
        for pair in evidence.failures
    ]


def _receiver(pair: Pair) -> str:
    return linked(pair.receiver) if hub_id(pair.receiver) else plain(pair.receiver)


def _cell(pair: Pair, method: str) -> str:
    correct = pair.random if method == "random" else pair.correct.get(method)
    return "–" if correct is None else f"{correct / pair.n:.3f} ({correct}/{pair.n})"


def _mean(evidence: Evidence, method: str) -> str:
    if method == "random":
        shares = [pair.random / pair.n for pair in evidence.pairs if pair.random is not None]
        return f"{sum(shares) / len(shares):.3f}" if len(shares) == evidence.n_pairs else "–"
    mean = _everywhere(evidence).get(method)
    return "–" if mean is None else f"{mean.value:.3f}"


def _everywhere(evidence: Evidence) -> dict[str, Mean]:
    """Means of methods that were counted in every pair; only these can be compared."""
    return {method: mean for method, mean in evidence.accuracy.items() if mean.n_pairs == evidence.n_pairs}
