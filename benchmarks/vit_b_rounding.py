"""What finding codes with proxy images costs for a ViT-B on this machine: minutes and memory of each rounding.

    python benchmarks/vit_b_rounding.py                      # all roundings, one process each
    python benchmarks/vit_b_rounding.py --rounding gptq

The weights are random, which takes as long as trained ones. "tuned" begins with all that "fitted" does, which its
``layers_s`` says: the seconds until the last layer had its codes. Memory is the peak of the process less what it held,
with the float model loaded, before rounding began.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

from _machine import environment, write_result

GRID = "int2-channel-mse-affine"
ROUNDINGS = ("nearest", "gptq", "tuned")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounding", action="append", choices=ROUNDINGS)
    parser.add_argument("--child", choices=ROUNDINGS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args.child)))
        return
    found = {}
    for rounding in args.rounding or ROUNDINGS:
        command = [sys.executable, __file__, "--child", rounding]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found[rounding] = json.loads(done.stdout.splitlines()[-1])
        print(rounding, found[rounding], flush=True)
        keep(found)


def keep(found: dict[str, dict[str, float]]) -> None:
    """Write what was measured, beside what other roundings took before."""
    path = Path(__file__).parent / "results" / "vit_b_rounding.json"
    before = json.loads(path.read_text())["roundings"] if path.is_file() else {}
    write_result("vit_b_rounding", {"grid": GRID, "roundings": before | found} | environment())


def measure(rounding: str) -> dict[str, float]:
    """Wall time of `quantize_` and the memory that it takes beyond the float model."""
    from transformers import ViTConfig, ViTForImageClassification

    import qvec_hub as qv
    from qvec_hub.naming import backbone_linears
    from qvec_hub.progress import stages
    from qvec_hub.proxies import enough_images

    torch.manual_seed(0)
    model = ViTForImageClassification(ViTConfig(num_labels=10)).eval()
    layers = len(dict(backbone_linears(model)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times: dict[int, float] = {}
    start = time.perf_counter()
    with stages(show=True) as show:

        def watch(what: str, done: int, total: int) -> None:
            times[done] = time.perf_counter() - start
            show(what, done, total)

        qv.quantize_(model, GRID, rounding=rounding, progress=watch)
    wall_s = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "images": enough_images(model),
        "threads": torch.get_num_threads(),
        "layers_s": round(times.get(layers, wall_s), 1),
        "wall_s": round(wall_s, 1),
        "extra_mb": round((peak - before) / 1024),
    }


if __name__ == "__main__":
    main()
