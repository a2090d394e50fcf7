"""ViT-B at int3 against plain float32 on this machine: time to the first prediction, forward, memory, size.

    python benchmarks/vit_b.py            # prints a table, writes benchmarks/results/vit_b.json

Every figure is a ratio of two things measured in turn (A B A B …) in one run; medians are reported. Loads
run in fresh processes, from the call of ``from_pretrained`` to the first prediction of one image.

``quanto-int4`` is transformers' own QuantoConfig: on a CPU it needs a C++ compiler, and it fails under
inference_mode, hence no_grad. HQQ at 3 bits is missing: transformers 5.23 cannot quantize with it while loading.
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

import torch

from _machine import environment, write_result

VARIANTS = ("float32", "int3", "quanto-int4")


def prepare(folder: Path) -> None:
    """A ViT-B receiver and a vector for it, with random weights of a plausible size."""
    from transformers import ViTConfig, ViTForImageClassification

    import qvec_hub as qv

    torch.manual_seed(0)
    model = ViTForImageClassification(ViTConfig(num_labels=10)).eval()
    model.save_pretrained(folder / "receiver")
    other = ViTForImageClassification(model.config).eval()
    with torch.no_grad():
        for mine, theirs in zip(other.parameters(), model.parameters(), strict=True):
            mine.copy_(theirs + 1e-3 * torch.randn_like(theirs))
    qv.QuantizationVector.extract(model, other, model).save_pretrained(folder / "vector")
    qv.QuantizationVector.from_pretrained(folder / "vector")  # its hash is checked once, as after a download


def load(variant: str, folder: Path) -> torch.nn.Module:
    import transformers
    from transformers import AutoModelForImageClassification as Auto

    if variant == "float32":
        return Auto.from_pretrained(folder / "receiver")
    if variant == "int3":
        import qvec_hub as qv

        return qv.from_pretrained(folder / "receiver", vector=folder / "vector", weights="int3", rounding="nearest")
    config = transformers.QuantoConfig("int4", modules_to_not_convert=["classifier"])
    return Auto.from_pretrained(folder / "receiver", quantization_config=config)


def load_once(variant: str, folder: Path) -> None:
    """In a fresh process: imports first, then the clock, then the load and one prediction."""
    import transformers

    import qvec_hub  # noqa: F401

    transformers.utils.logging.disable_progress_bar()
    transformers.AutoModelForImageClassification  # noqa: B018  (resolves the lazy import)
    import transformers.models.vit.modeling_vit

    image = torch.randn(1, 3, 224, 224)
    for path in folder.glob("*/*.safetensors"):  # both variants find their files in the page cache
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
    start = time.perf_counter()
    model = load(variant, folder)
    with torch.no_grad():
        model(image)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_mb": resident("VmHWM") - before}))


def resident(field: str) -> float:
    """Resident memory now (VmRSS) or at its peak (VmHWM), in MiB, mapped files included; Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def measure_loads(variants: list[str], folder: Path, runs: int) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {v: {"seconds": [], "peak_mb": []} for v in variants}
    for run in range(runs + 1):  # the first round warms the page cache
        for variant in variants:
            command = [sys.executable, __file__, "--load-once", variant, "--folder", str(folder)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            if run:
                for key, value in json.loads(done.stdout.splitlines()[-1]).items():
                    found[variant][key].append(value)
    return found


def measure_forward(variants: list[str], folder: Path, batch: int, runs: int) -> dict[str, list[float]]:
    models = {variant: load(variant, folder).eval() for variant in variants}
    images = torch.randn(batch, 3, 224, 224)
    found: dict[str, list[float]] = {variant: [] for variant in variants}
    with torch.no_grad():
        for run in range(runs + 2):
            for variant, model in models.items():
                start = time.perf_counter()
                model(images)
                if run >= 2:
                    found[variant].append(time.perf_counter() - start)
    return found


def sizes(folder: Path) -> dict[str, float]:
    import qvec_hub as qv
    from qvec_hub.layers.packed_linear import packed_layers

    model = qv.from_pretrained(folder / "receiver", vector=folder / "vector", weights="int3", rounding="nearest")
    model.save_pretrained(folder / "saved")
    layers = packed_layers(model)
    weights = sum(layer.in_features * layer.out_features for layer in layers)
    packed = sum(layer.weight_packed.nbytes for layer in layers)
    scales = sum(layer.weight_scale.nbytes for layer in layers)
    rest = sum(p.nbytes for p in model.parameters())
    return {
        "quantized_weights": weights,
        "bits_per_weight": 8 * packed / weights,
        "scale_bytes": scales,
        "file_bytes": (folder / "saved" / "model.safetensors").stat().st_size,
        "expected_bytes": packed + scales + rest,
        "float_file_bytes": (folder / "receiver" / "model.safetensors").stat().st_size,
    }


def ratios(found: dict[str, list[float]]) -> dict[str, float]:
    base = found["float32"]
    return {v: statistics.median(x / b for x, b in zip(values, base, strict=True)) for v, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9, help="counted rounds of each pair")
    parser.add_argument("--variants", nargs="+", default=["float32", "int3"], choices=VARIANTS)
    parser.add_argument("--load-once", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load_once:
        load_once(arguments.load_once, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare(folder)
        loads = measure_loads(arguments.variants, folder, arguments.runs)
        forwards = {b: measure_forward(arguments.variants, folder, b, arguments.runs) for b in (1, 8)}
        result = {
            **environment(),
            "runs": arguments.runs,
            "sizes": sizes(folder),
            "largest_vector_tensor_mb": 3072 * 768 * 4 / 2**20,
            "first_prediction_s": {v: statistics.median(x["seconds"]) for v, x in loads.items()},
            "first_prediction_ratio": ratios({v: x["seconds"] for v, x in loads.items()}),
            "peak_mb": {v: statistics.median(x["peak_mb"]) for v, x in loads.items()},
            "forward_s": {b: {v: statistics.median(x) for v, x in f.items()} for b, f in forwards.items()},
            "forward_ratio": {b: ratios(f) for b, f in forwards.items()},
        }
    print(json.dumps(result, indent=2))
    write_result("vit_b", result)


if __name__ == "__main__":
    main()
