"""Cells a minute of `qvec bench run`, against a loop that does for every pair what the authors' script does.

That loop loads the base's two fine-tunes of the donor and the receiver, builds the model, subtracts, patches,
quantizes, and evaluates on images that it decodes and preprocesses anew. Both count the same pairs on one machine;
runs alternate, and the counts have to be equal.

    python benchmarks/bench_run.py --models zoo-models --pairs 22 --rounds 5
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from functools import cache
from pathlib import Path

import torch
import transformers
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import ViTForImageClassification, ViTImageProcessor

from _machine import environment, write_result
from qvec_hub import zoo
from qvec_hub.bench import read_rows
from qvec_hub.bench.cells import Cell, cells
from qvec_hub.bench.library import Library
from qvec_hub.bench.rows import append_row
from qvec_hub.bench.suite import load_suite
from qvec_hub.bench.workbench import Workbench

BASE, GRID = "base-xs", "int2-channel-absmax"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="what `qvec zoo build` made")
    parser.add_argument("--pairs", type=int, default=22, help="pairs a round: a receiver with all donors")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()

    suite, library = load_suite("zoo-22").narrowed(bases=[BASE]), Library(args.models)
    wanted = [
        cell
        for cell in cells(suite)
        if cell.scale == "unit" and len(cell.donors) == 1 and not cell.control and str(cell.grid) == GRID
    ]
    rounds = []
    for number in range(args.rounds):
        pairs = wanted[number * args.pairs :][: args.pairs]
        # A fresh bench each time: it pays for opening its receiver and its donors within the round.
        parts = {"script": lambda pairs=pairs: [one_pair(cell, library) for cell in pairs]}
        parts["bench"] = lambda pairs=pairs: bench(pairs, suite, library)
        order = list(parts) if number % 2 == 0 else list(reversed(parts))
        taken, counts = {}, {}
        for name in order:
            start = time.perf_counter()
            counts[name] = parts[name]()
            taken[name] = time.perf_counter() - start
        if counts["script"] != counts["bench"]:
            raise SystemExit(f"the counts differ: {counts}")
        rounds.append(taken)
        print(f"round {number + 1}: {len(pairs)} pairs, script {taken['script']:.2f} s, bench {taken['bench']:.2f} s")
    report(rounds, args.pairs)


def bench(pairs: list[Cell], suite: object, library: Library) -> list[int]:
    """As the runner does: a workbench, a row each, on the disk before the next."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.jsonl")
        workbench = Workbench(suite, library, torch.device("cpu"))  # type: ignore[arg-type]
        for cell in pairs:
            append_row(path, workbench.count(cell))
        return [row.correct for row in read_rows(path)]


def one_pair(cell: Cell, library: Library) -> int:
    """One pair as a script would: everything from its files."""
    (donor,) = cell.donors
    assert cell.grid is not None
    fp, qat, receiver = (
        ViTForImageClassification.from_pretrained(folder).state_dict()
        for folder in (
            library.fp(cell.base, cell.seed, donor),
            library.qat(cell.base, cell.seed, donor, cell.grid),
            library.fp(cell.base, cell.seed, cell.receiver),
        )
    )
    model = ViTForImageClassification.from_pretrained(library.fp(cell.base, cell.seed, cell.receiver)).eval()
    patched = {
        name: tensor + (qat[name] - fp[name]) if name.startswith("vit.") else tensor
        for name, tensor in receiver.items()
    }
    model.load_state_dict(patched)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name.startswith("vit."):
            scale = (module.weight.abs().amax(dim=1, keepdim=True) / 1).clamp(min=1e-8)
            module.weight.data = (module.weight / scale).round().clamp(-2, 1) * scale
    processor = ViTImageProcessor.from_pretrained(library.fp(cell.base, cell.seed, cell.receiver))

    def preprocessed(rows: dict[str, list]) -> dict[str, list]:  # type: ignore[type-arg]
        rows["pixel_values"] = [processor(image.convert("RGB"))["pixel_values"][0] for image in rows.pop("image")]
        return rows

    loader = DataLoader(encoded(cell.receiver).with_transform(preprocessed), batch_size=250)  # type: ignore[arg-type]
    correct = 0
    with torch.inference_mode():
        for batch in loader:
            logits = model(pixel_values=batch["pixel_values"]).logits
            correct += int((logits.argmax(dim=1) == batch["label"]).sum())
    return correct


@cache
def encoded(task: str) -> Dataset:
    """The test split as PNG files in memory; a script would find them in the datasets library's cache."""
    return zoo.load_task_split(task, "test")


def report(rounds: list[dict[str, float]], pairs: int) -> None:
    per_minute = {name: 60 * pairs / statistics.median(each[name] for each in rounds) for name in rounds[0]}
    ratios = sorted(each["script"] / each["bench"] for each in rounds)
    result = {
        "what": f"cells a minute, {BASE}, {GRID}, 1,000 test images a cell",
        "pairs_a_round": pairs,
        "rounds": len(rounds),
        "cells_per_minute": {name: round(value, 1) for name, value in per_minute.items()},
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_low": round(ratios[0], 2),
        "ratio_high": round(ratios[-1], 2),
        **environment(),
    }
    write_result("bench_run", result)
    print(f"{per_minute['script']:.0f} cells a minute by the script, {per_minute['bench']:.0f} by the bench")
    print(f"ratio {result['ratio_median']} ({result['ratio_low']} to {result['ratio_high']})")


if __name__ == "__main__":
    main()
