"""What rounding without data keeps of a pretrained ViT: the table of the suite dinov2-s.

For each kind of receiver, width and method: mean top-1; the share of what plain rounding on the published grid loses
that is won back, ``(accuracy − RTN) / (FP − RTN)`` of each receiver, and its mean; points of top-1 over GPTQ with 256
images of the receiver's task; and how many receivers end below plain rounding. Intervals resample tasks, whose probe
and fine-tune stay together (bootstrap, 95 %). The receivers are those with the default at a width, and the methods
those that were counted for all of them.

    python benchmarks/real_won_back.py benchmarks/results/dinov2-s    # rows of `qvec bench run dinov2-s`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from _machine import environment, write_result
from qvec_hub.bench.context import Trained, read_context
from qvec_hub.results.row import Row
from qvec_hub.results.rows import read_all

DRAWS = 10_000
OWN = "GPTQ, 256 images of the task"
METHODS = {
    "plain rounding": ("ptq", "channel-absmax"),
    "plain rounding, affine grid": ("ptq", "channel-mse-affine"),
    OWN: ("gptq", "channel-mse-affine"),
    f"{OWN}, on a trellis": ("gptq", "channel-trellis"),
    "fitted on proxy images, affine grid": ("proxy_fitted", "channel-mse-affine"),
    (DEFAULT := "fitted on proxy images, on a trellis: the default"): ("proxy_fitted", "channel-trellis"),
}
Counts = dict[Trained, dict[str, float]]  # receiver -> method -> accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of rows")
    args = parser.parse_args()
    rows, context = read_all([args.run]), read_context([args.run])
    receivers = {row.receiver: context.receiver(row) for row in rows}
    table = []
    for width in ("ternary", "int2", "int3"):
        every = counted(rows, receivers, width)
        for kinds in (("probe",), ("fine-tune",), ("probe", "fine-tune")):
            chosen = complete({receiver: found for receiver, found in every.items() if receiver.kind in kinds})
            if {receiver.kind for receiver in chosen} != set(kinds):
                continue
            for method in next(iter(chosen.values()), ()):
                table.append({"width": width, "kinds": kinds, "receivers": len(chosen)} | line(chosen, method))
                print("|", " | ".join(map(str, table[-1].values())), "|")
    write_result("real_won_back", {"rows": len(rows), "table": table} | environment())


def counted(rows: list[Row], receivers: dict[str, Trained], width: str) -> Counts:
    """Accuracies at a width, from 0 to 1, and that of the float model."""
    names = {(method, f"{width}-{grid}"): name for name, (method, grid) in METHODS.items()}
    counts: Counts = {}
    for row in rows:
        name = names.get((row.method, row.grid.name if row.grid else None))
        name = "float" if row.method == "fp" else name
        if name is not None and not row.donors:
            counts.setdefault(receivers[row.receiver], {})[name] = row.correct / row.n
    return counts


def complete(counts: Counts) -> Counts:
    """The receivers with the default, and the methods that all of them have, in the table's order."""
    with_default = {receiver: found for receiver, found in counts.items() if DEFAULT in found and "float" in found}
    shared = set.intersection(*(set(found) for found in with_default.values())) if with_default else set()
    names = [name for name in (*METHODS, "float") if name in shared]
    return {receiver: {name: found[name] for name in names} for receiver, found in with_default.items()}


def line(counts: Counts, method: str) -> dict[str, object]:
    """What a method reaches on some receivers."""
    order = list(counts)
    own, plain, whole, reached = (
        np.array([counts[receiver].get(name, np.nan) for receiver in order])
        for name in (OWN, "plain rounding", "float", method)
    )
    draws = draws_of([receiver.task for receiver in order])
    return {
        "method": method,
        "top1": shown(100 * reached, draws, ".1f"),
        "won_back": shown((reached - plain) / (whole - plain), draws, ".2f"),
        "below_float": shown(100 * (whole - reached), draws, ".1f"),
        "over_gptq": shown(100 * (reached - own), draws, "+.1f") if not np.isnan(own).any() else "",
        "worse_than_plain": int((reached < plain).sum()),
    }


def draws_of(tasks: list[str]) -> np.ndarray:
    """Weights of receivers ``(1 + DRAWS, receivers)``: all alike, then how often each one's task was drawn."""
    names, place = np.unique(tasks, return_inverse=True)
    drawn = np.random.default_rng(0).integers(0, len(names), (DRAWS, len(names)))
    weights = (drawn[:, :, None] == place).sum(1)
    return np.concatenate([np.ones((1, len(tasks))), weights])


def shown(values: np.ndarray, draws: np.ndarray, form: str) -> str:
    means = draws @ values / draws.sum(1)
    low, high = np.quantile(means[1:], [0.025, 0.975])
    value, least, most = (format(each, form).replace("-", "−") for each in (means[0], low, high))
    return f"{value} ({least} … {most})"


if __name__ == "__main__":
    main()
