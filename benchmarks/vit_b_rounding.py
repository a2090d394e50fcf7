"""What finding codes with proxy images costs for a ViT-B on this machine: seconds and memory of each rounding.

    python benchmarks/vit_b_rounding.py                      # all of them, one process each
    python benchmarks/vit_b_rounding.py --only gptq

"tuned" is "fitted" and then steps of tuning, of which only some are taken here. The weights are random, which takes as
long as trained ones. Memory is the peak of the process less what it held, with the float model loaded, before it began.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from _machine import environment, write_result

if TYPE_CHECKING:
    from transformers import ViTForImageClassification

GRID = "int2-channel-trellis"
STEPS = 5  # of tuning


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=MEASURED)
    parser.add_argument("--child", choices=MEASURED, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args.child)))
        return
    found = {}
    for name in args.only or MEASURED:
        command = [sys.executable, __file__, "--child", name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, found[name], flush=True)
        keep(found)


def keep(found: dict[str, dict[str, float]]) -> None:
    """Write what was measured, beside what the others took before."""
    path = Path(__file__).parent / "results" / "vit_b_rounding.json"
    before = json.loads(path.read_text())["found"] if path.is_file() else {}
    write_result("vit_b_rounding", {"grid": GRID, "found": before | found} | environment())


def measure(name: str) -> dict[str, float]:
    """Seconds, and the memory that it takes beyond the float model."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    model = ViTForImageClassification(ViTConfig(num_labels=10)).eval()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = MEASURED[name](model)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**times, "threads": torch.get_num_threads(), "extra_mb": round((peak - before) / 1024)}


def rounding(model: ViTForImageClassification, name: str) -> dict[str, float]:
    """Wall time of `quantize_`."""
    import qvec_hub as qv
    from qvec_hub.proxies.model_inputs import enough_images
    from qvec_hub.util.progress import stages

    images, start = enough_images(model), time.perf_counter()
    with stages(show=True) as show:
        qv.quantize_(model, GRID, rounding=name, progress=show)
    return {"images": images, "wall_s": round(time.perf_counter() - start, 1)}


def tuning(model: ViTForImageClassification) -> dict[str, float]:
    """Of a step of tuning the median, and how many steps `quantize_` takes."""
    from qvec_hub import Grid
    from qvec_hub.backbone.names import backbone_linears
    from qvec_hub.grid.quantize import quantize
    from qvec_hub.proxies.model_inputs import proxy_pixels
    from qvec_hub.rounding import tune_scales as tuning

    grid = Grid.parse(GRID)
    found = {name: quantize(layer.weight.detach(), grid) for name, layer in backbone_linears(model)}
    pixels = proxy_pixels(model, count=32)
    times = [time.perf_counter()]
    tuning.tune_scales(model, found, grid, pixels, steps=STEPS, progress=lambda done: times.append(time.perf_counter()))
    steps = [later - sooner for sooner, later in itertools.pairwise(times)]
    return {"step_s": round(statistics.median(steps), 2), "steps": tuning.STEPS}


MEASURED: dict[str, Callable[[Any], dict[str, float]]] = {
    **{name: functools.partial(rounding, name=name) for name in ("nearest", "gptq", "fitted")},
    "tuning": tuning,
}


if __name__ == "__main__":
    main()
