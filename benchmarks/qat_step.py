"""What straight-through training costs: a QAT step against a plain step, ViT-B/16, AdamW.

The two are timed in pairs, in alternating order, and compared pair by pair, so that a slow moment
of the machine weighs on both. On a machine with other work to do, one thread and the ratio of the
process's own CPU time say most. Weights and images are random: time does not depend on them.

    python benchmarks/qat_step.py --batch 8 --pairs 9 --grids int3 int2-channel-mse --threads 1
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import torch
import transformers
from transformers import ViTConfig, ViTForImageClassification

import qvec_hub

RESULTS = Path(__file__).parent / "results" / "qat_step.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8, help="images a step")
    parser.add_argument("--pairs", type=int, default=15, help="timed pairs for each grid")
    parser.add_argument("--grids", nargs="+", default=["int3", "int2-channel-mse"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast, as in mixed-precision training")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    plain = training_step(vit_base(), args)
    rows = []
    for name in args.grids:
        grid = qvec_hub.Grid.parse(name)
        rounded = training_step(qvec_hub.prepare_qat_(vit_base(), grid), args)
        rows.append({"grid": grid.name, **paired(plain, rounded, args)})
        print_row(rows[-1])
    report = {**conditions(args), "rows": rows}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")


def vit_base() -> ViTForImageClassification:
    """google/vit-base-patch16-224's shape (the defaults of ViTConfig) with 10 classes."""
    return ViTForImageClassification(ViTConfig(num_labels=10))


def training_step(model: ViTForImageClassification, args: argparse.Namespace) -> Callable[[], None]:
    """One whole optimizer step: forward, backward, clipping at norm 1, AdamW."""
    model.to(args.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.1)
    images = torch.randn(args.batch, 3, 224, 224, device=args.device)
    labels = torch.randint(10, (args.batch,), device=args.device)

    def step() -> None:
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.bf16):
            loss = model(images, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def paired(plain: Callable[[], None], rounded: Callable[[], None], args: argparse.Namespace) -> dict[str, float]:
    for step in (plain, rounded):  # first steps allocate the optimizer's state
        step()
    pairs = []
    for index in range(args.pairs):
        order = (plain, rounded) if index % 2 == 0 else (rounded, plain)
        taken = {step: seconds(step, args.device) for step in order}
        pairs.append((taken[plain], taken[rounded]))
    wall = sorted(after[0] / before[0] for before, after in pairs)
    cpu = [after[1] / before[1] for before, after in pairs]
    return {
        "fp_step_s": round(statistics.median(before[0] for before, _ in pairs), 4),
        "qat_step_s": round(statistics.median(after[0] for _, after in pairs), 4),
        "ratio_median": round(statistics.median(wall), 4),
        "ratio_low": round(wall[0], 4),
        "ratio_high": round(wall[-1], 4),
        "cpu_time_ratio_median": round(statistics.median(cpu), 4),
        "pairs": len(pairs),
    }


def seconds(step: Callable[[], None], device: str) -> tuple[float, float]:
    """Wall-clock seconds and seconds of CPU time over all threads."""
    synchronize = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    synchronize()
    start = time.perf_counter(), time.process_time()
    step()
    synchronize()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def conditions(args: argparse.Namespace) -> dict[str, object]:
    return {
        "what": "seconds of one optimizer step of ViT-B/16 (224 pixels, 10 classes), and QAT / FP per pair",
        "batch": args.batch,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or "cpu",
        "precision": "bf16" if args.bf16 else "fp32",
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 1),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "qvec_hub": qvec_hub.__version__,
        },
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def print_row(row: dict[str, float | str]) -> None:
    print(
        f"{row['grid']:<24} FP {row['fp_step_s']:.3f} s   QAT {row['qat_step_s']:.3f} s   "
        f"ratio {row['ratio_median']:.3f} ({row['ratio_low']:.3f} to {row['ratio_high']:.3f}, {row['pairs']} pairs), "
        f"of CPU time {row['cpu_time_ratio_median']:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
