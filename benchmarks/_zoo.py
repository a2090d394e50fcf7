"""What the measurements that the package quotes have in common: a library, its receivers and where the numbers go."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

import qvec_hub
from _machine import environment, write_result
from qvec_hub import Grid
from qvec_hub.bench.model_store import Library
from qvec_hub.bench.receiver import LoadedReceiver, Vector
from qvec_hub.bench.suite import load_suite

BATCH = 250
GRIDS = ["int2-channel-absmax", "int2-channel-mse", "int2-channel-mse-affine"]


def arguments(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="what `qvec zoo build` made, with all grids")
    parser.add_argument("--base", default="base-xs")
    parser.add_argument("--suite", default="zoo-22", help="whose tasks and images")
    parser.add_argument("--grid", action="append", help=f"default: {', '.join(GRIDS)}")
    parser.add_argument("--keep", action="store_true", help="write the table that the package quotes")
    args = parser.parse_args()
    args.grid = args.grid or GRIDS
    return args


def receivers(library: Library, base: str, name: str) -> dict[str, LoadedReceiver]:
    """The library's receivers of a base for a suite's tasks, by task."""
    suite = load_suite(name)
    return {
        task.name: LoadedReceiver(
            library.fp(base, 0, task.name), suite.task(task.name), suite.images, torch.device("cpu"), BATCH
        )
        for task in suite.tasks
    }


def accuracy(loaded: LoadedReceiver, grid: Grid, vector: Vector | None = None) -> float:
    """Top-1 in percent of a receiver with a vector added at λ = 1, rounded to nearest."""
    loaded.receiver.treat(vector, 1.0, grid)
    images = loaded.images("test")
    return 100 * loaded.receiver.correct(images) / len(images)


def write(name: str, reference_table: str, result: dict[str, object], args: argparse.Namespace) -> None:
    """Into the benchmark's results for this base and, to be kept, among the numbers that the package quotes."""
    write_result(f"{name}_{args.base}", result | environment())
    if args.keep:
        path = Path(qvec_hub.__file__).parent / "results" / f"{reference_table}.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
