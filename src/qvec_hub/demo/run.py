"""Train donors on zoo tasks, use each other's vectors, and count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .. import zoo
from ..controls import random_like
from ..errors import QVecError
from ..evaluation import evaluate, load_processor, preprocess
from ..loading import from_pretrained, save_model
from ..merge import merge
from ..training import TrainingRecipe, train_donor
from ..vector import QuantizationVector

__all__ = ["DemoSettings", "Measurement", "run_demo"]


@dataclass(frozen=True)
class DemoSettings:
    """What the demo does.

    The scales are constants: no image of a run's receivers has a say in them. One donor brings its own training
    noise along, so it is added at half weight; averaging removes most of that, so the mean is added whole.
    """

    tasks: tuple[str, ...] = ("glyphs-latin", "glyphs-greek", "shapes", "counting", "textures")
    weights: str = "int2-channel-mse"
    images: int = 3000
    recipe: TrainingRecipe = field(
        default_factory=lambda: TrainingRecipe(epochs=6, learning_rate=1e-3, warmup_steps=30, weight_decay=0.1)
    )
    donor_scale: float = 0.5
    mean_scale: float = 1.0
    mean_curve: tuple[float, ...] = (0.25, 0.5, 0.75, 1.5, 2.0)  # for the picture, beside mean_scale
    random_curve: tuple[float, ...] = (0.5, 1.5, 2.0)


@dataclass(frozen=True)
class Measurement:
    """One number: `correct` of `n` test images of `receiver`, treated by `method` at `scale`."""

    receiver: str
    method: str  # fp, rtn, donor, mean, random or own_qat
    scale: float
    n: int
    correct: int
    donor: str | None = None


def run_demo(out: Path, settings: DemoSettings, say: Callable[[str], None]) -> list[Measurement]:
    """Make the donors in `out` and measure every receiver with the vectors of the *other* tasks.

    Args:
        say: called with one line at each step.

    Raises:
        QVecError: `out` holds something else, or a setting does not exist.
    """
    if len(settings.tasks) < 2:
        raise QVecError("demo: expected at least two tasks, so that one can help the other")
    vectors = {}
    for number, task in enumerate(settings.tasks, 1):
        say(f"[{number}/{len(settings.tasks)}] {task}: training a plain and a quantization-aware model")
        data = zoo.load_task(task, train=settings.images)
        donor = train_donor(zoo.base_path(), data, out / task, grid=settings.weights, recipe=settings.recipe, task=task)
        vectors[task] = QuantizationVector.from_pretrained(donor.vector)
    rows: list[Measurement] = []
    for task in settings.tasks:
        say(f"measuring receiver {task} at {settings.weights}")
        others = {name: vector for name, vector in vectors.items() if name != task}
        rows.extend(_measure(task, out / task / "fp", vectors[task], others, settings))
    _round_trip(out, settings, vectors, say)
    return rows


def _measure(
    task: str,
    receiver: Path,
    own: QuantizationVector,
    others: dict[str, QuantizationVector],
    settings: DemoSettings,
) -> Iterator[Measurement]:
    images = preprocess(zoo.load_task(task)["test"], load_processor(None, receiver))

    def count(method: str, vector: Any, scale: float, donor: str | None = None, weights: str | None = None) -> Any:
        model = from_pretrained(receiver, vector=vector, weights=weights, scale=scale)
        result = evaluate(model, images, batch_size=250, progress=False)
        return Measurement(task, method, scale, result.n, result.correct, donor)

    grid = settings.weights
    mean = merge(list(others.values()))
    noise = random_like(mean)
    yield count("fp", None, 1.0)
    yield count("rtn", None, 1.0, weights=grid)
    yield count("own_qat", own, 1.0, weights=grid)
    for name, vector in others.items():
        yield count("donor", vector, settings.donor_scale, name, grid)
    for scale in (settings.mean_scale, *settings.mean_curve):
        yield count("mean", mean, scale, weights=grid)
    for scale in (settings.mean_scale, *settings.random_curve):
        yield count("random", noise, scale, weights=grid)


def _round_trip(
    out: Path, settings: DemoSettings, vectors: dict[str, QuantizationVector], say: Callable[[str], None]
) -> None:
    """What a deployer does: load with vectors, save, load again; the logits must be the same to the last bit."""
    task = settings.tasks[0]
    receiver, saved = out / task / "fp", out / f"{task}-{settings.weights}"
    folders = [out / name / "vector" for name in settings.tasks if name != task]
    model = from_pretrained(receiver, vector=folders, weights=settings.weights, scale=settings.mean_scale)
    save_model(model, saved, processor_from=receiver)
    again = from_pretrained(saved)
    pixels = torch.randn(8, *_input_shape(model), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        if not torch.equal(model(pixels).logits, again(pixels).logits):
            raise QVecError(f"{saved}: the reloaded model answers differently; please report this")
    size = {path: sum(f.stat().st_size for f in path.glob("*.safetensors")) for path in (receiver, saved)}
    say(
        f"saved {saved}: {size[saved] / 1e3:.0f} kB instead of {size[receiver] / 1e3:.0f} kB; "
        "reloaded with identical logits"
    )


def _input_shape(model: Any) -> tuple[int, int, int]:
    return model.config.num_channels, model.config.image_size, model.config.image_size
