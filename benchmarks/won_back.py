"""How much of what plain rounding loses each method wins back: the README's tables.

The share of a scale is ``(accuracy − RTN) / (FP − RTN)``, each the mean over its receivers and RTN on the published
grid; that of several scales their mean. Intervals resample tasks, the same ones on every scale (bootstrap, 95 %). What
none of the runs has measured is left out.

    python benchmarks/won_back.py runs/best runs/22    # of `qvec bench run zoo-22-best` and, for the recipe, `zoo-22`
    python benchmarks/won_back.py runs/int3            # of `qvec bench run zoo-6-int3`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from _machine import environment, write_result
from qvec_hub.bench.context import Context, read_context
from qvec_hub.results.row import Row
from qvec_hub.results.rows import read_all

DRAWS = 10_000
PUBLISHED = "channel-absmax"  # grids, without their bits
BEST = "channel-mse-affine"
Method = tuple[str, str | None, str | float | None, str | None]  # its name, merge, scale or what chose it, control
OWN: Method = ("gptq", None, None, None)
DEFAULT: Method = ("proxy_tuned", "mean", "auto", None)
SAME_IMAGES: Method = ("proxy_tuned", "mean", 0.0, None)
RECIPE: Method = ("qvec", None, 1.0, None)
METHODS: dict[str, Method] = {
    "the published recipe: one donor, λ = 1, on the published grid": RECIPE,
    "plain rounding on this grid": ("ptq", None, None, None),
    "+ mean of the others, λ chosen on proxy images": ("qvec", "mean", "auto", None),
    "+ a random vector in its place, λ chosen on proxy images": ("qvec", "mean", "auto", "random"),
    "GPTQ on the package's proxy images": ("proxy_gptq", None, None, None),
    "fitted on the package's proxy images": ("proxy_fitted", None, None, None),
    "tuned on the package's proxy images": ("proxy_tuned", None, None, None),
    "fitted on donors' images": ("proxy_fitted", "mean", 0.0, None),
    "tuned on donors' images: several vectors and nothing else": DEFAULT,
    "the same with the mean of the others at λ = 0.5": ("proxy_tuned", "mean", 0.5, None),
    "the same with a random vector at λ = 0.5": ("proxy_tuned", "mean", 0.5, "random"),
    "GPTQ, 256 images": OWN,
    "AWQ, 256 images": ("awq", None, None, None),
    "fitted, 256 images": ("fitted", None, None, None),
    "tuned, 256 images": ("tuned", None, None, None),
    "the receiver's own quantization-aware training": ("own_qat", None, None, None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of `qvec bench run`")
    args = parser.parse_args()
    rows, context = read_all(args.runs), read_context(args.runs)
    bases = dict.fromkeys(context.receiver(row).base for row in rows)
    runs = [Run([row for row in rows if context.receiver(row).base == base], context) for base in bases]
    tasks = sorted(set.intersection(*(run.tasks(OWN) for run in runs)))
    draws = np.random.default_rng(0).integers(0, len(tasks), (DRAWS, len(tasks)))
    own = np.stack([run.accuracy(OWN, tasks) for run in runs])
    table = []
    for name, method in METHODS.items():
        if not any(run.found.get(method) for run in runs):
            continue
        accuracy = np.stack([run.accuracy(method, tasks) for run in runs])
        shares = np.mean([run.share(each, tasks, draws) for run, each in zip(runs, accuracy, strict=True)], axis=0)
        ahead = 100 * (accuracy - own).mean(0)[np.concatenate([np.arange(len(tasks))[None], draws])].mean(1)
        top1 = [round(100 * float(each.mean()), 2) for each in accuracy]
        table.append({"method": name, "top1": top1, "won_back": interval(shares), "against_gptq": interval(ahead)})
        cells = [f"{each:.1f} %" for each in top1]
        print("|", " | ".join([name, *cells, shown(interval(shares), ".2f"), shown(interval(ahead), "+.1f")]), "|")
    result = {"receivers": len(tasks), "table": table, "default": [against_plain(run, tasks) for run in runs]}
    print(*result["default"], sep="\n")
    write_result(f"won_back_{runs[0].bits}", result | environment())


class Run:
    """The rows of one scale, on the best grid but for plain rounding and the recipe, which have the published one."""

    def __init__(self, rows: list[Row], context: Context) -> None:
        self.bits, _, _ = next(row.grid.name for row in rows if row.grid is not None).partition("-")
        self.found: dict[Method, dict[str, list[float]]] = {}
        for row in rows:
            of_own = any(context.is_own(row, donor.repo) for donor in row.donors)
            scale = row.scale if row.scale_policy in (None, "unit") else row.scale_policy
            method = (row.method, row.merge, scale, row.control)
            grid = PUBLISHED if method == RECIPE else BEST
            if not of_own and (row.grid is None or row.grid.name == f"{self.bits}-{grid}"):
                self.found.setdefault(method, {}).setdefault(row.dataset, []).append(row.correct / row.n)
        self.rounded = {row.dataset: row.correct / row.n for row in rows if self._is_published(row)}

    def _is_published(self, row: Row) -> bool:
        return row.method == "ptq" and row.grid is not None and row.grid.name == f"{self.bits}-{PUBLISHED}"

    def tasks(self, method: Method) -> set[str]:
        return set(self.found[method])

    def accuracy(self, method: Method, tasks: list[str]) -> np.ndarray:
        """Of each task's receiver, in [0, 1]: of single donors the mean."""
        counted = self.found.get(method, {})
        if missing := [task for task in tasks if task not in counted]:
            raise SystemExit(f"{method}: no row for {', '.join(missing)}; is the run complete?")
        return np.array([np.mean(counted[task]) for task in tasks])

    def share(self, accuracy: np.ndarray, tasks: list[str], draws: np.ndarray) -> np.ndarray:
        """Of the tasks as they are and of every draw: what is won back of RTN's loss."""
        whole = self.accuracy(("fp", None, None, None), tasks)
        rounded = np.array([self.rounded[task] for task in tasks])
        drawn = np.concatenate([np.arange(len(tasks))[None], draws])
        return (accuracy - rounded)[drawn].mean(1) / (whole - rounded)[drawn].mean(1)


def against_plain(run: Run, tasks: list[str]) -> dict[str, float]:
    """The default beside the same rounding with the same images and no vector, and beside its best scale."""
    default, plain = (run.accuracy(method, tasks) for method in (DEFAULT, SAME_IMAGES))
    best = np.maximum(plain, run.accuracy(("proxy_tuned", "mean", 0.5, None), tasks))
    bundled = run.accuracy(("proxy_tuned", None, None, None), tasks)
    return {
        "worse_than_plain": int((default < plain).sum()),
        "worse_than_with_bundled_proxies": int((default < bundled).sum()),
        "below_best_scale_mean": round(100 * float((best - default).mean()), 2),
        "below_best_scale_most": round(100 * float((best - default).max()), 2),
    }


def interval(values: np.ndarray) -> list[float]:
    """The value and its 95 % interval."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return [round(float(each), 4) for each in (values[0], low, high)]


def shown(values: list[float], form: str) -> str:
    value, low, high = (format(each, form).replace("-", "−") for each in values)
    return f"{value} ({low} … {high})"


if __name__ == "__main__":
    main()
