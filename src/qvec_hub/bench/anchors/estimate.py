"""What a run of anchors will cost, before it begins: measured on this machine, with the run's own models."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import groupby

import torch

from ...backbone.processor import load_processor
from ...evaluation.images import preprocess
from ...evaluation.models import forward
from ...proxies.model_inputs import enough_images
from ...util.durations import spoken
from ..methods import proxied
from .bench import BATCH, AnchorBench, decoders
from .suite import AnchorCell, short_name

__all__ = ["estimate"]

# Forward passes over the images it is shown that a rounding takes as long as: roughly, for a ViT-B and 283 images on
# two cores (docs/results.md).
PASSES = {"gptq": 4, "fitted": 5, "tuned": 20}
OTHERS = 20  # of a method that is not among them
DECODED = 16  # images to time


def estimate(bench: AnchorBench, pending: Sequence[AnchorCell]) -> Iterator[str]:
    """Yield a line for each model with cells to count, after timing a batch of it, and one for all.

    Opens the models one after the other. Times are rough: they leave out what is done once.
    """
    total, images = 0.0, len(bench.data.test)
    for model, group in groupby(pending, lambda cell: cell.model):
        cells = list(group)
        shown, decoded = _seconds_an_image(bench, model)
        counting = len(cells) * images * (shown + decoded)
        rounding = sum(_shown(bench, cell) * shown for cell in cells)
        total += counting + rounding
        yield (
            f"{short_name(model)}: {len(cells)} rows of {images:,} images, about {spoken(counting)} to count and "
            f"{spoken(rounding)} to round ({1000 * (shown + decoded):.1f} ms an image on {bench.device})"
        )
    yield f"in all {len(pending)} rows, about {spoken(total)}"


def _shown(bench: AnchorBench, cell: AnchorCell) -> float:
    """Images that a cell's rounding shows to the model, once for each of its passes."""
    if cell.method in ("fp", "ptq"):
        return 0
    rounding = proxied(cell.method)
    count = bench.suite.images.calibration if rounding is None else enough_images(bench.receiver(cell.model).model)
    return PASSES.get(rounding or cell.method, OTHERS) * count


def _seconds_an_image(bench: AnchorBench, model: str) -> tuple[float, float]:
    """Seconds to show an image to a model, and to decode and preprocess one."""
    receiver = bench.receiver(model)
    images = bench.data.test.select(range(min(DECODED, len(bench.data.test))))
    start = time.perf_counter()
    pixels = preprocess(images, load_processor(receiver.folder)).pixel_values
    decoded = (time.perf_counter() - start) / len(pixels) / max(1, decoders(bench.device, len(bench.data.test)))
    count = BATCH if bench.device.type != "cpu" else min(8, len(pixels))
    batch = pixels[torch.arange(count) % len(pixels)]
    with torch.inference_mode():
        for _ in range(2):  # the first also sets the device up
            start = time.perf_counter()
            forward(receiver.model, batch).sum().item()
    return (time.perf_counter() - start) / count, decoded
