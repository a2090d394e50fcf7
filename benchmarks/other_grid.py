"""What a vector loses where it is used on another grid than its donor was trained on.

For every pair of grids of a library: the mean of the other tasks' vectors, trained on one, added at λ = 1 to every
receiver, which is then rounded to nearest on the other. The numbers go into the warning that such a use gets.

    python benchmarks/other_grid.py --models zoo-models --base base-xs
"""

from __future__ import annotations

from statistics import fmean

from _zoo import accuracy, arguments, receivers, write
from qvec_hub import Grid
from qvec_hub.bench.cells import Cell
from qvec_hub.bench.model_store import Library
from qvec_hub.bench.vector_cache import Donors


def main() -> None:
    args = arguments(__doc__)
    library, grids = Library(args.models), {name: Grid.parse(name) for name in args.grid}
    donors, loaded_by_task = Donors(library), receivers(library, args.base, args.suite)
    gains: dict[tuple[str, str], list[float]] = {(trained, used): [] for trained in grids for used in grids}
    for task, loaded in loaded_by_task.items():
        others = tuple(name for name in loaded_by_task if name != task)
        plain = {used: accuracy(loaded, grids[used]) for used in grids}
        for trained in grids:
            vector = donors.vector(Cell(args.base, 0, task, "qvec", grids[trained], others, "mean"))
            tensors = donors.tensors(vector)
            for used in grids:
                gains[trained, used].append(accuracy(loaded, grids[used], tensors) - plain[used])
        print(task, {f"{a} on {b}": round(found[-1], 1) for (a, b), found in gains.items()}, flush=True)
    table = [
        {"trained": trained, "used": used, "gain": round(fmean(found), 2)} for (trained, used), found in gains.items()
    ]
    result = {"base": args.base, "receivers": len(loaded_by_task), "scale": 1.0, "gains": table}
    write("other_grid", "other_grid", result, args)


if __name__ == "__main__":
    main()
