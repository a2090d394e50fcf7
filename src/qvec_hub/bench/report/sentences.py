"""Sentences made from the numbers, the unwelcome ones included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...errors import DataError
from ...hub.cards.markdown import counted, points
from ..stats.bootstrap import Interval
from ..stats.compare import Comparison, compare
from .text import between, code, percent
from .treatments import Line, Measured

__all__ = ["findings", "in_short"]


def in_short(found: Measured) -> list[str]:
    """Write a few sentences about all bases and grids together, without Markdown."""
    sentences = [
        "Gains are counted from plain rounding to nearest (RTN) of the same receiver to the same grid. Vectors of the "
        "receiver's own task are ceilings and no part of any transfer."
    ]
    verdicts = [
        _direction(compared.interval)
        for base, grid in found.settings
        if (best := _best_vector(found.main(base, grid)))
        for line in found.main(base, grid)
        if line.kind == "calibrated" and (compared := _compared(line, best))
    ]
    if verdicts:
        ahead, behind = (verdicts.count(word) for word in ("ahead of", "behind"))
        unclear = len(verdicts) - ahead - behind
        sentences.append(
            f"Calibrated methods need images of the receiver's task. In {counted(len(verdicts), 'comparison')} with "
            f"the zero-shot vector that did best on these very images, on the same base and grid, they are ahead in "
            f"{ahead}, behind in {behind}, and neither clearly in {unclear}."
        )
    elif found.lines:
        sentences.append(
            "No calibrated method was measured beside a zero-shot vector. Calibrated methods, which need images of "
            "the receiver's task, may well be ahead of everything here."
        )
    return sentences


def findings(found: Measured, base: str, grid: str) -> list[str]:
    """Write sentences about one base and grid, in Markdown."""
    lines = found.main(base, grid)
    best = _best_vector(lines)
    return [
        *_rounding(lines),
        *(_vector(line) for line in lines if line.kind in ("vector", "vector, chosen scale")),
        *_controls(lines),
        *(_calibrated(line, best) for line in lines if line.kind == "calibrated"),
        *_other_grids(lines, best),
    ]


def _rounding(lines: Sequence[Line]) -> Iterable[str]:
    rtn = next(line for line in lines if line.is_rtn)
    fp = next((line for line in lines if line.kind == "unquantized"), None)
    if fp is None:
        yield f"Plain rounding leaves a mean accuracy of {percent(rtn.summary.accuracy)} %; FP was not counted."
        return
    yield (
        f"Plain rounding takes the mean accuracy from {percent(fp.summary.accuracy)} % to "
        f"{percent(rtn.summary.accuracy)} %."
    )


def _vector(line: Line) -> str:
    summary = line.summary
    what = f"**{line.method}**: {points(summary.mean)} points on average ({_interval(summary.interval)}) over " + (
        f"{counted(summary.n_pairs, 'pair')}, a win in {percent(summary.win_rate)} %."
    )
    needs = (
        " It is not zero-shot: the scale was chosen on the receiver's validation images."
        if line.needs != "none"
        else ""
    )
    verdict = {
        "behind": " It harms.",
        "not clearly ahead of or behind": " The interval includes zero: no effect is shown.",
        "unknown": " There are too few receivers to tell this from chance.",
    }.get(_direction(summary.interval), "")
    return what + verdict + needs + _failures(line)


def _failures(line: Line) -> str:
    failures = line.summary.failures
    if not failures:
        return " No pair lost accuracy."
    worst = failures[0]
    source = f" with the vector of {code(worst.donor_task or worst.donor)}" if worst.donor else ""
    lost = f"{len(failures):,} of {counted(line.summary.n_pairs, 'pair')} lost accuracy"
    return f" {lost}, at worst {points(worst.gain)} points: {code(worst.receiver)}{source}."


def _controls(lines: Sequence[Line]) -> Iterable[str]:
    """Whether controls have gains of about zero, and whether vectors gain more than their controls."""
    controls = [line for line in lines if line.kind == "control"]
    if not controls:
        if any(line.kind == "vector" for line in lines):
            yield "No control was run: any change of the weights of that size could cause these gains."
        return
    for line in controls:
        mean, interval = line.summary.mean, line.summary.interval
        told = f"{line.method}: {points(mean)} points ({_interval(interval)})"
        if _direction(interval) == "ahead of":
            yield f"A control is **above zero**: {told}. Compare what it imitates with it, not with plain rounding."
        if _direction(interval) == "behind":
            yield f"A control is below zero: {told}. A change of that size does harm by itself."
    quiet = [line for line in controls if _direction(line.summary.interval) == "not clearly ahead of or behind"]
    if quiet:
        means = ", ".join(f"{line.method} {points(line.summary.mean)}" for line in quiet)
        yield f"The intervals of these controls include zero, as they should: {means}."
    for line in (line for line in lines if line.kind == "vector"):
        yield from _against_controls(line, [control for control in controls if _imitates(control, line)])


def _against_controls(line: Line, controls: Sequence[Line]) -> Iterable[str]:
    if not controls:
        yield f"**{line.method}** has no control at its scale."
        return
    strongest = max(controls, key=lambda control: control.summary.mean)
    compared = _compared(line, strongest)
    if compared is not None:
        p = "" if compared.p is None else f", p = {compared.p:.2g} by flipping signs of whole receivers"
        yield (
            f"**{line.method}** less its strongest control ({strongest.method}): {points(compared.mean_difference)} "
            f"points ({_interval(compared.interval)}{p})."
        )


def _imitates(control: Line, line: Line) -> bool:
    a, b = control.protocol, line.protocol
    return (a.donors, a.merge, control.scale) == (b.donors, b.merge, line.scale)


def _calibrated(line: Line, best: Line | None) -> str:
    name = f"**{line.method}**"
    accuracy = f"{percent(line.summary.accuracy)} % on average"
    compared = None if best is None else _compared(line, best)
    if best is None or compared is None:
        return f"{name} needs images of the receiver's task and reaches {accuracy}; there is no vector to compare with."
    verdict = _direction(compared.interval)
    if verdict == "unknown":
        verdict = "with too few receivers for an interval, beside"
    return (
        f"{name} needs images of the receiver's task and reaches {accuracy}: {verdict} the best zero-shot vector "
        f"({best.method}), difference {points(compared.mean_difference)} points ({_interval(compared.interval)})."
    )


def _other_grids(lines: Sequence[Line], best: Line | None) -> Iterable[str]:
    """Whether plain rounding to another grid reaches more than every vector."""
    for line in lines:
        if best is not None and line.other_grid and line.summary.accuracy > best.summary.accuracy:
            yield (
                f"{line.method}, without any vector, reaches {percent(line.summary.accuracy)} %: more than every "
                f"zero-shot vector on this grid."
            )


def _best_vector(lines: Sequence[Line]) -> Line | None:
    zero_shot = [line for line in lines if line.kind == "vector"]
    return max(zero_shot, key=lambda line: line.summary.accuracy, default=None)


def _compared(a: Line, b: Line) -> Comparison | None:
    """Compare two lines on the receivers they have in common; None without any."""
    try:
        return compare(a.transfers, b.transfers)
    except DataError:
        return None


def _direction(interval: Interval | None) -> str:
    if interval is None:
        return "unknown"
    if interval.low > 0:
        return "ahead of"
    return "behind" if interval.high < 0 else "not clearly ahead of or behind"


def _interval(interval: Interval | None) -> str:
    return "no interval" if interval is None else f"95 % interval {between(interval)}"
