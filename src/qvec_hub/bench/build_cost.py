"""What a build will cost: models, images, time on this machine, room on the disk."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from transformers import PreTrainedModel

from ..backbone.checkpoint import load_classifier
from ..training.qat import prepare_qat_, strip_qat_
from ..util.durations import spoken
from ..zoo.dataset import IMAGES
from ..zoo.registry import ZOO
from .model_store import PROBE, Library
from .suite import Suite, TaskSpec

__all__ = ["Cost", "Job", "Need", "cost_of", "needs"]

Job = tuple[str, int, str]  # base, seed, task
FEW = 16  # images that are timed
CHECKPOINT = 3  # times a model's size: weights and two moments of each


@dataclass(frozen=True)
class Need:
    """What is missing of a task's models.

    Attributes:
        probe: the base with a fitted head.
        runs: trainings: None for the plain one, else the grid's name.
        vectors: number of vectors.
    """

    probe: bool
    runs: tuple[str | None, ...]
    vectors: int

    @property
    def folders(self) -> int:
        """Number of models and vectors to write."""
        return self.probe + len(self.runs) + self.vectors


@dataclass(frozen=True)
class Cost:
    """The cost of a build.

    Attributes:
        models, vectors: numbers of them.
        images: images that are trained on, each as often as it is seen; None if a dataset has to be read to know.
        seconds: expected time on this machine; None if `images` is.
        bytes: room on the disk.
    """

    models: int
    vectors: int
    images: int | None
    seconds: float | None
    bytes: int

    def __str__(self) -> str:
        seen = "as many images as their datasets hold" if self.images is None else f"{self.images:,} images"
        took = "" if self.seconds is None else f", about {spoken(self.seconds)} on this machine"
        room = f"{self.bytes / 1e6:,.0f} MB"
        return f"{self.models} models and {self.vectors} vectors to make: {seen}{took}, {room} on the disk"


class _Speed(NamedTuple):
    """Seconds of one batch: forward alone, a plain step, a step for each grid; and bytes of a model."""

    forward: float
    steps: Mapping[str | None, float]
    bytes: int


def needs(suite: Suite, library: Library) -> dict[Job, Need]:
    """What is missing of every task's models, in the suite's order; tasks that lack nothing are left out."""
    jobs = [(base, seed, task.name) for base in suite.bases for seed in suite.seeds for task in suite.tasks]
    found = {job: _need(suite, library, job) for job in jobs}
    return {job: need for job, need in found.items() if need.folders}


def _need(suite: Suite, library: Library, job: Job) -> Need:
    probe = PROBE in suite.kinds and not library.probe(*job).is_dir()
    vectors = [grid for grid in suite.grids if not library.vector(*job, grid).is_dir()] if suite.needs_pairs else []
    twins = [grid.name for grid in vectors if not library.qat(*job, grid).is_dir()]
    plain = [None] if vectors and not library.fp(*job).is_dir() else []
    return Need(probe, (*plain, *twins), len(vectors))


def cost_of(
    suite: Suite,
    library: Library,
    missing: Mapping[Job, Need],
    device: torch.device,
    workers: int,
    *,
    checkpoints: bool,
) -> Cost:
    """Estimate a build's cost from a step of each kind, timed here.

    Args:
        workers: processes that share the tasks.
        checkpoints: whether the runs in progress are saved too.
    """
    speeds = {base: _timed(suite, library, base, device) for base in {base for base, _, _ in missing}}
    images, seconds = 0, 0.0
    counted = True
    for (base, _, name), need in missing.items():
        n, spec = _images(suite, suite.task(name)), suite.task(name)
        if n is None:
            counted = False
            continue
        epochs, batches = spec.epochs or suite.recipe.epochs, n / suite.recipe.batch_size
        images += round(n * epochs * len(need.runs))
        seconds += batches * epochs * sum(speeds[base].steps[run] for run in need.runs)
        seconds += batches * speeds[base].forward * (need.probe or bool(need.runs))
    size = sum(need.folders * speeds[base].bytes for (base, _, _), need in missing.items())
    size += workers * CHECKPOINT * max((speed.bytes for speed in speeds.values()), default=0) if checkpoints else 0
    models = sum(need.probe + len(need.runs) for need in missing.values())
    vectors = sum(need.vectors for need in missing.values())
    if not counted:
        return Cost(models, vectors, None, None, size)
    return Cost(models, vectors, images, seconds / workers, size)


def _images(suite: Suite, spec: TaskSpec) -> int | None:
    """Number of training images; None if only the dataset knows."""
    if spec.dataset.startswith(ZOO):
        return suite.images.train or IMAGES["train"]
    return suite.images.train


def _timed(suite: Suite, library: Library, base: str, device: torch.device) -> _Speed:
    """Time a few images, and from them a batch; rounding weights takes as long for any number of images."""
    model = load_classifier(library.base(base), head_required=False)
    size, channels = model.config.image_size, getattr(model.config, "num_channels", 3)
    height, width = size if isinstance(size, Sequence) else (size, size)
    pixels = torch.randn(min(FEW, suite.recipe.batch_size), channels, height, width, device=device)
    torch.nn.Module.to(model.train(), device)
    precision = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(suite.recipe.precision)
    with torch.autocast(device.type, precision) if precision else nullcontext():
        _step(model, pixels)  # the first one is slower
        few = _step(model, pixels)
        plain = few * suite.recipe.batch_size / len(pixels)
        steps: dict[str | None, float] = {None: plain}
        for grid in suite.grids:
            prepare_qat_(model, grid)
            steps[grid.name] = plain + max(0.0, _step(model, pixels) - few)
            strip_qat_(model)
    held = sum(tensor.nbytes for tensor in model.state_dict().values())
    return _Speed(plain / 3, steps, held)  # the backward pass computes twice what the forward pass does


def _step(model: PreTrainedModel, pixels: torch.Tensor) -> float:
    """Seconds of a forward and a backward pass, the faster of two."""
    took = []
    for _ in range(2):
        start = time.perf_counter()
        model(pixels).logits.float().square().sum().backward()
        model.zero_grad()
        if pixels.device.type == "cuda":
            torch.cuda.synchronize(pixels.device)
        took.append(time.perf_counter() - start)
    return min(took)
