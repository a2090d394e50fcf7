"""Cells a minute of `qvec bench run`, against a loop that does for every pair what the authors' script does.

That loop loads the base's two fine-tunes of the donor and the receiver, builds the model, subtracts, patches,
quantizes, and evaluates on images that it decodes and preprocesses anew. The run counts all pairs of the zoo's smallest
scale by the published protocol, from starting its workers to the last row on the disk; the loop counts a sample of
them. Both take turns on one machine, and their counts have to be equal.

    python benchmarks/bench_run.py --models zoo-models --rounds 5
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
from qvec_hub.bench.cells import Cell, Key, cells, key_of_row
from qvec_hub.bench.model_store import Library
from qvec_hub.bench.runner import run_suite
from qvec_hub.bench.suite import Suite, load_suite
from qvec_hub.bench.workers import worthwhile_workers
from qvec_hub.results.rows import read_rows

BASE, GRID = "base-xs", "int2-channel-absmax"
PROTOCOL = [{"method": "qvec", "donors": "each", "scales": ["unit"], "grids": [GRID]}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="what `qvec zoo build` made")
    parser.add_argument("--sample", type=int, default=44, help="pairs that the loop counts in a round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()

    library, suite = Library(args.models), protocol()
    pairs = cells(suite)
    rounds = []
    for number in range(args.rounds):
        sample = pairs[number :: len(pairs) // args.sample][: args.sample]
        parts = {"script": lambda sample=sample: script(sample, library), "run": lambda: run(suite, library)}
        order = list(parts) if number % 2 == 0 else list(reversed(parts))
        taken, counts = {}, {}
        for name in order:
            start = time.perf_counter()
            counts[name] = parts[name]()
            taken[name] = 60 * len(counts[name]) / (time.perf_counter() - start)
        if any(counts["run"][key] != correct for key, correct in counts["script"].items()):
            raise SystemExit(f"the counts differ: {counts}")
        rounds.append(taken)
        print(f"round {number + 1}: script {taken['script']:.0f} cells a minute, run {taken['run']:.0f}")
    report(rounds, len(pairs), len(sample), worthwhile_workers(suite))


def protocol() -> Suite:
    """The part of zoo-22 that is the published protocol, at the smallest scale."""
    whole = load_suite("zoo-22").narrowed(bases=[BASE])
    return Suite.model_validate({**whole.model_dump(mode="json"), "measure": PROTOCOL})


def run(suite: Suite, library: Library) -> dict[Key, int]:
    with tempfile.TemporaryDirectory() as folder:
        run_suite(suite, folder, library.root)
        return {key_of_row(row): row.correct for row in read_rows(Path(folder, "rows.jsonl"))}


def script(pairs: list[Cell], library: Library) -> dict[Key, int]:
    return {cell.key: one_pair(cell, library) for cell in pairs}


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


def report(rounds: list[dict[str, float]], pairs: int, sample: int, workers: int) -> None:
    per_minute = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    ratios = sorted(each["run"] / each["script"] for each in rounds)
    result = {
        "what": f"cells a minute, {BASE}, {GRID}, one donor, scale 1",
        "pairs_of_the_run": pairs,
        "pairs_of_the_script": sample,
        "rounds": len(rounds),
        "workers": workers,
        "cells_per_minute": {name: round(value, 1) for name, value in per_minute.items()},
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_low": round(ratios[0], 2),
        "ratio_high": round(ratios[-1], 2),
        **environment(),
    }
    write_result("bench_run", result)
    print(f"{per_minute['script']:.0f} cells a minute by the script, {per_minute['run']:.0f} by the run")
    print(f"ratio {result['ratio_median']} ({result['ratio_low']} to {result['ratio_high']})")


if __name__ == "__main__":
    main()
