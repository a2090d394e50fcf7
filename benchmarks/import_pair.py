"""Time and memory of importing a pair of ViT-B/16 checkpoints with random weights, against reading both files.

    python benchmarks/import_pair.py

Each measurement runs in a process of its own, after a first one that warms the file cache; medians of five.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from _machine import environment, write_result

RUNS = 5


def write_pair(folder: Path) -> None:
    """Two state dicts of ViT-B/16 in timm's names, as the method's authors saved theirs: 343 MB each."""
    width, inner, layers = 768, 3072, 12
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 197, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,),
        "head.weight": (10, width),
        "head.bias": (10,),
    }
    linears = {
        "attn.qkv": (3 * width, width),
        "attn.proj": (width, width),
        "mlp.fc1": (inner, width),
        "mlp.fc2": (width, inner),
    }
    for layer in range(layers):
        for name, (rows, columns) in linears.items():
            shapes |= {f"blocks.{layer}.{name}.weight": (rows, columns), f"blocks.{layer}.{name}.bias": (rows,)}
        for name in ("norm1", "norm2"):
            shapes |= {f"blocks.{layer}.{name}.{part}": (width,) for part in ("weight", "bias")}
    shapes |= {f"norm.{part}": (width,) for part in ("weight", "bias")}
    base = {name: 0.02 * torch.randn(shape) for name, shape in shapes.items()}
    for kind in ("fp", "qat"):
        torch.save({f"model.{n}": t + 1e-3 * torch.randn_like(t) for n, t in base.items()}, folder / f"{kind}.pt")


def read(folder: Path) -> None:
    for kind in ("fp", "qat"):
        torch.load(folder / f"{kind}.pt", weights_only=True)


def imported(folder: Path) -> None:
    from qvec_hub.interop.pair import import_pair

    import_pair(folder / "fp.pt", folder / "qat.pt").save_pretrained(folder / "vector")


def once(what: str, folder: Path) -> None:
    """Print seconds and peak memory of one of the two, the imports of libraries left out."""
    if what == "import":
        import transformers.models.vit.modeling_vit  # noqa: F401

        import qvec_hub.interop.pair  # noqa: F401
    shutil.rmtree(folder / "vector", ignore_errors=True)
    start = time.perf_counter()
    (imported if what == "import" else read)(folder)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}))


def peak_mb() -> float:
    """This process's own peak; what getrusage tells includes the parent's before the child's program began."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1e3  # type: ignore[index]


def main() -> None:
    if len(sys.argv) == 3:
        once(sys.argv[1], Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        write_pair(Path(scratch))
        found: dict[str, list[dict[str, float]]] = {"read": [], "import": []}
        for _ in range(RUNS + 1):
            for what, runs in found.items():
                command = [sys.executable, __file__, what, scratch]
                runs.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    ratios = [i["seconds"] / r["seconds"] for i, r in zip(found["import"][1:], found["read"][1:], strict=True)]
    result = {
        "read_seconds": statistics.median(run["seconds"] for run in found["read"][1:]),
        "import_seconds": statistics.median(run["seconds"] for run in found["import"][1:]),
        "ratio": statistics.median(ratios),
        "import_peak_mb": max(run["peak_mb"] for run in found["import"][1:]),
    }
    print(json.dumps(result, indent=1))
    write_result("import_pair", result | environment())


if __name__ == "__main__":
    main()
