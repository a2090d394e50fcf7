"""What a vector loses where it is used on another grid than its donor was trained on.

For every pair of grids of a library: the mean of the other tasks' vectors, trained on one, added at λ = 1 to every
receiver, which is then rounded to nearest on the other. The numbers go into the warning that such a use gets.

    python benchmarks/other_grid.py --models zoo-models --base base-xs
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean

import torch

import qvec_hub
from _machine import environment, write_result
from qvec_hub import Grid
from qvec_hub.bench.cells import Cell
from qvec_hub.bench.donors import Donors
from qvec_hub.bench.library import Library
from qvec_hub.bench.receiver import Vector
from qvec_hub.bench.seat import Seat
from qvec_hub.bench.suite import load_suite

BATCH = 250
GRIDS = ("int2-channel-absmax", "int2-channel-mse", "int2-channel-mse-affine")
TABLE = Path(qvec_hub.__file__).parent / "quoted" / "other_grid.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="what `qvec zoo build` made, with all grids")
    parser.add_argument("--base", default="base-xs")
    parser.add_argument("--keep", action="store_true", help="write the table that the package warns with")
    args = parser.parse_args()

    suite, library = load_suite("zoo-22"), Library(args.models)
    donors, tasks = Donors(library), [task.name for task in suite.tasks]
    gains: dict[tuple[str, str], list[float]] = {(trained, used): [] for trained in GRIDS for used in GRIDS}
    for task in tasks:
        seat = Seat(library.fp(args.base, 0, task), suite.task(task), suite.images, torch.device("cpu"), BATCH)
        others = tuple(name for name in tasks if name != task)
        plain = {used: accuracy(seat, used) for used in GRIDS}
        for trained in GRIDS:
            vector = donors.vector(Cell(args.base, 0, task, "qvec", Grid.parse(trained), others, "mean"))
            tensors = donors.tensors(vector)
            for used in GRIDS:
                gains[trained, used].append(accuracy(seat, used, tensors) - plain[used])
        print(task, {f"{a} on {b}": round(found[-1], 1) for (a, b), found in gains.items()}, flush=True)
    table = [
        {"trained": trained, "used": used, "gain": round(fmean(found), 2)} for (trained, used), found in gains.items()
    ]
    result = {"base": args.base, "receivers": len(tasks), "scale": 1.0, "gains": table}
    write_result("other_grid", result | environment())
    if args.keep:
        TABLE.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def accuracy(seat: Seat, grid: str, vector: Vector | None = None) -> float:
    """Top-1 in percent of a receiver with a vector added, rounded to nearest."""
    seat.receiver.treat(vector, 1.0, Grid.parse(grid))
    images = seat.images("test")
    return 100 * seat.receiver.correct(images) / len(images)


if __name__ == "__main__":
    main()
