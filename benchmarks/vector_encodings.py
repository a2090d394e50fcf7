r"""What vectors lose in fewer bits a number: accuracy of receivers with the mean of the other tasks' encoded vectors.

For every encoding and every grid that vectors of the library were trained on: each donor's vector as its file holds
it, the mean of the others added at λ = 1 to every receiver, rounded to nearest. The losses stand in vectors' cards.

    python benchmarks/vector_encodings.py --models zoo-models
    python benchmarks/vector_encodings.py --models zoo-models --base base-l --suite zoo-6-int3 \
        --grid int3-channel-mse-affine
"""

from __future__ import annotations

import tempfile
from statistics import fmean

import torch
from torch import Tensor

from _zoo import accuracy, arguments, receivers, write
from qvec_hub import Grid, QuantizationVector
from qvec_hub.artifact.encoding import ENCODINGS
from qvec_hub.bench.model_store import Library
from qvec_hub.bench.receiver import LoadedReceiver


def main() -> None:
    args = arguments(__doc__)
    library = Library(args.models)
    loaded_by_task = receivers(library, args.base, args.suite)
    table = []
    for grid in map(Grid.parse, args.grid):
        folders = {task: library.vector(args.base, 0, task, grid) for task in loaded_by_task}
        vectors = {task: QuantizationVector.from_pretrained(folder) for task, folder in folders.items()}
        found = {encoding: accuracies(loaded_by_task, vectors, encoding, grid) for encoding in ENCODINGS.names()}
        for encoding in ENCODINGS.names()[1:]:
            lost = [whole - own for whole, own in zip(found["float32"], found[encoding], strict=True)]
            table.append({"grid": grid.name, "encoding": encoding, "lost": round(fmean(lost), 3)})
            print(table[-1], f"worst {max(lost):.1f}", flush=True)
    result = {"base": args.base, "receivers": len(loaded_by_task), "scale": 1.0, "points": table}
    write("vector_encodings", "encodings", result, args)


def accuracies(
    loaded_by_task: dict[str, LoadedReceiver], vectors: dict[str, QuantizationVector], encoding: str, grid: Grid
) -> list[float]:
    """Top-1 in percent of each receiver with the mean of the others' vectors, as an encoding holds them."""
    held = {task: stored(vector, encoding) for task, vector in vectors.items()}
    names = next(iter(held.values()))
    total = {name: torch.stack([tensors[name] for tensors in held.values()]).sum(0) for name in names}
    found = []
    for task, loaded in loaded_by_task.items():
        mean = {name: (total[name] - held[task][name]) / (len(held) - 1) for name in names}
        found.append(accuracy(loaded, grid, mean))
    return found


def stored(vector: QuantizationVector, encoding: str) -> dict[str, Tensor]:
    """A vector's tensors after it was written and read."""
    with tempfile.TemporaryDirectory() as folder:
        vector.save_pretrained(folder, encoding=encoding)
        found = QuantizationVector.from_pretrained(folder)
        return {name: found[name].clone() for name in found}


if __name__ == "__main__":
    main()
