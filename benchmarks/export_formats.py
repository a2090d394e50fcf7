"""Which export format holds which grid: every cell is written, loaded without this package, and counted.

    python benchmarks/export_formats.py RECEIVER --task photographs

RECEIVER is a folder with a float classifier of one of the zoo's tasks, as `benchmarks/real_receivers.py` makes them.
Prints top-1 counts on the task's test images, sizes, and the time of a forward pass beside the float model's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import qvec_hub as qv
from _machine import environment, write_result
from qvec_hub import zoo
from qvec_hub.backbone.processor import load_processor
from qvec_hub.evaluation.images import preprocess
from qvec_hub.interop.export import EXPORTERS, export

GRIDS = (
    "int2-channel-absmax",
    "int2-channel-mse-affine",
    "int3-channel-absmax",
    "int3-channel-mse-affine",
    "int4-channel-absmax",
    "int4-group64-absmax",
    "int8-channel-absmax",
)
# Run by a process that never imports this package: counts predictions, and times batches of one and eight images.
READER = """
import json, logging, statistics, sys, time
logging.disable(logging.WARNING)
import torch
torch.set_num_threads(1)
where, to = sys.argv[1:]
images = torch.load(sys.argv[1] + "/../images.pt")
if to in ("float", "compressed-tensors"):
    from transformers import AutoModelForImageClassification
    model = AutoModelForImageClassification.from_pretrained(where).eval()
    run = lambda x: model(x).logits
elif to == "torch":
    program = torch.export.load(where + "/model.pt2").module()
    run = program
else:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(where + "/model.onnx", options, providers=["CPUExecutionProvider"])
    run = lambda x: torch.from_numpy(session.run(["logits"], {"pixel_values": x.numpy()})[0])
with torch.inference_mode():
    predictions = torch.cat([run(part).argmax(1) for part in images["pixels"].split(50)])
    times = {}
    for count in (1, 8):
        part, taken = images["pixels"][:count], []
        for _ in range(15):
            start = time.perf_counter()
            run(part)
            taken.append(time.perf_counter() - start)
        times[count] = statistics.median(taken)
assert "qvec_hub" not in sys.modules
print(json.dumps({"correct": int((predictions == images["labels"]).sum()), "seconds": times}))
"""


def forward_times(model: Any, pixels: torch.Tensor) -> dict[int, float]:
    """Median seconds of a forward pass of one and of eight images, one thread."""
    threads, times = torch.get_num_threads(), {}
    torch.set_num_threads(1)
    with torch.inference_mode():
        for count in (1, 8):
            taken = []
            for _ in range(15):
                start = time.perf_counter()
                model(pixels[:count])
                taken.append(time.perf_counter() - start)
            times[count] = statistics.median(taken)
    torch.set_num_threads(threads)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("receiver", type=Path)
    parser.add_argument("--task", required=True)
    parser.add_argument("--grid", action="append")
    parser.add_argument("--python", default=sys.executable, help="of an environment without this package, to load with")
    args = parser.parse_args()
    images = preprocess(zoo.load_task_split(args.task, "test", 400), load_processor(args.receiver))
    cells = []
    float_times = forward_times(qv.from_pretrained(args.receiver), images.pixel_values)
    with tempfile.TemporaryDirectory() as scratch:
        torch.save({"pixels": images.pixel_values, "labels": images.labels}, f"{scratch}/images.pt")
        for grid in args.grid or GRIDS:
            model = qv.from_pretrained(args.receiver, weights=grid, rounding="nearest")
            ours = {"correct": qv.evaluate(model, images, progress=False).correct}
            ours["seconds"] = forward_times(model, images.pixel_values)
            for to in EXPORTERS.names():
                folder = Path(scratch) / f"{grid}-{to}"
                try:
                    export(model, folder, to)
                except qv.QVecError as error:
                    cells.append({"grid": grid, "format": to, "refused": str(error)})
                else:
                    command = [args.python, "-c", READER, str(folder), to]
                    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=scratch)
                    if done.returncode:
                        cells.append({"grid": grid, "format": to, "failed": done.stderr.splitlines()[-1]})
                    else:
                        size = sum(path.stat().st_size for path in folder.iterdir())
                        found = json.loads(done.stdout.splitlines()[-1])
                        cells.append({"grid": grid, "format": to, "bytes": size, **found, "ours": ours})
                print(json.dumps(cells[-1]), flush=True)
    result = {"receiver": args.receiver.name, "n": len(images), "float_seconds": float_times, "cells": cells}
    write_result("export_formats", result | environment())


if __name__ == "__main__":
    main()
