"""Do two checkouts of this repository compute the same? Their benchmark rows, saved models and logits, compared.

    git worktree add ../before COMMIT
    python benchmarks/compare_checkouts.py ../before .       # minutes; writes benchmarks/results/compare_checkouts.json

In each checkout, one after the other: ``qvec bench run zoo-mini`` (four donors trained, 292 cells counted), and one
receiver, quantized in several ways, saved, and shown images. Rows must agree in everything but times and versions,
models in the bytes of their weights, logits in every bit. Both run in this environment, each from its own ``src/``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from _machine import environment, write_result

UNSTEADY = ("wall_s", "created", "versions", "device")  # what may differ between two runs of the same code
QVEC = "from qvec_hub.cli import main; main()"
# Uses nothing but the public API and the zoo's bases, which every checkout has.
MODELS = """
import hashlib, json, sys, tempfile, warnings
from pathlib import Path
import torch
import qvec_hub as qv
from qvec_hub.zoo.base import base_path
from transformers import AutoModelForImageClassification
warnings.simplefilter("ignore")
torch.set_num_threads(1)

def moved(seed, amount):
    torch.manual_seed(0)
    model = AutoModelForImageClassification.from_pretrained(base_path("base-xs"), num_labels=7)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data += amount * torch.randn(parameter.shape, generator=generator)
    return model.eval()

found = {}
with tempfile.TemporaryDirectory() as folder:
    root = Path(folder)
    moved(1, 0.004).save_pretrained(root / "receiver")
    vectors = [qv.QuantizationVector.extract(moved(2 * i, 0.003), moved(2 * i + 1, 0.006), grid="int2") for i in (1, 2)]
    image_size = vectors[0].config.architecture["image_size"]
    images = torch.randn(8, 3, image_size, image_size, generator=torch.Generator().manual_seed(9))
    ways = {
        "float": dict(vector=vectors[0]),
        "int2": dict(weights="int2", rounding="nearest"),
        "int3-vector": dict(vector=vectors[0], weights="int3", scale=1.0),
        "int2-group16-mse-affine": dict(weights="int2-group16-mse-affine", rounding="nearest"),
        "int8": dict(weights="int8"),
        "gptq": dict(weights="int2-channel-mse-affine", rounding="gptq"),
        "fitted": dict(weights="int2-channel-mse-affine", rounding="fitted"),
        "default-of-two": dict(vector=vectors, weights="int2"),
        "default-of-none": dict(weights="int2"),
    }
    for name, how in ways.items():
        model = qv.from_pretrained(root / "receiver", **how)
        model.save_pretrained(root / name)
        files = sorted((root / name).glob("*.safetensors"))
        with torch.no_grad():
            logits = model(pixel_values=images).logits
        found[name] = {
            "weights": hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest(),
            "logits": hashlib.sha256(logits.numpy().tobytes()).hexdigest(),
        }
print(json.dumps(found))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another one")
    parser.add_argument("--suite", default="zoo-mini")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        one, other = (
            outcome(folder, args.suite, Path(scratch, str(i))) for i, folder in enumerate((args.before, args.after))
        )
    differences = compare(one, other)
    result = {
        **environment(),
        "before": revision(args.before),
        "after": revision(args.after),
        "suite": args.suite,
        "rows": len(one["rows"]),
        "models": len(one["models"]),
        "differences": differences,
    }
    write_result("compare_checkouts", result)
    print(f"{len(one['rows'])} rows and {len(one['models'])} models compared: {len(differences)} differ")
    for line in differences[:20]:
        print(f"  {line}")
    sys.exit(bool(differences))


def outcome(folder: Path, suite: str, out: Path) -> dict[str, Any]:
    """What one checkout computes."""
    run(folder, [sys.executable, "-c", QVEC, "bench", "run", suite, "--out", str(out)])
    lines = (out / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    return {
        "rows": [json.loads(line) for line in lines],
        "models": json.loads(run(folder, [sys.executable, "-c", MODELS])),
    }


def run(folder: Path, command: list[str]) -> str:
    source = (folder / "src").resolve()
    finished = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": str(source), "HF_HUB_OFFLINE": "1"},
        cwd=source,
        check=True,
        stdout=subprocess.PIPE,
    )
    return finished.stdout.decode().strip().splitlines()[-1] if finished.stdout.strip() else ""


def compare(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """One line for every row or model that only one checkout has, or has otherwise."""
    rows = [Counter(map(steady, each["rows"])) for each in (one, other)]
    lines = [f"row only before: {row}" for row in rows[0] - rows[1]] + [
        f"row only after: {row}" for row in rows[1] - rows[0]
    ]
    for name in sorted({*one["models"], *other["models"]}):
        before, after = one["models"].get(name), other["models"].get(name)
        if before != after:
            lines.append(f"model {name}: {before} before, {after} after")
    return lines


def steady(row: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in row.items() if key not in UNSTEADY}, sort_keys=True)


def revision(folder: Path) -> str:
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
