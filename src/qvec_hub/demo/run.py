"""Train donors on zoo tasks, use each other's vectors, and count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from .. import zoo
from ..bench import DonorUse, Row, append_row
from ..controls import random_like
from ..errors import QVecError
from ..evaluation import evaluate, load_processor, preprocess
from ..loading import from_pretrained, save_model
from ..merge import merge
from ..training import TrainingRecipe, train_donor
from ..vector import QuantizationVector

__all__ = ["ROWS_FILE", "SUITE", "DemoSettings", "run_demo"]

SUITE, SUITE_VERSION = "demo", "1"
ROWS_FILE = "rows.jsonl"


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
class OpenDonor:
    """A task's vector, and its name in the rows."""

    vector: QuantizationVector
    use: DonorUse


def vector_source(out: Path, task: str) -> str | Path:
    """Where the vector of a task is loaded from."""
    return out / task / "vector"


def open_donor(out: Path, task: str) -> OpenDonor:
    """The vector of a task; it goes by its Hub id, or by the task's name before it has one."""
    vector = QuantizationVector.from_pretrained(vector_source(out, task))
    place = vector.origin
    return OpenDonor(vector, DonorUse(place.repo_id, place.revision) if place else DonorUse(task))


def run_demo(out: Path, settings: DemoSettings, say: Callable[[str], None]) -> list[Row]:
    """Make the donors in `out` and measure every receiver with the vectors of the *other* tasks.

    Each row is appended to ``rows.jsonl`` in `out` as soon as it is counted.

    Args:
        say: called with one line at each step.

    Raises:
        QVecError: `out` holds something else, or a setting does not exist.
    """
    if len(settings.tasks) < 2:
        raise QVecError("demo: expected at least two tasks, so that one can help the other")
    donors = {}
    for number, task in enumerate(settings.tasks, 1):
        say(f"[{number}/{len(settings.tasks)}] {task}: training a plain and a quantization-aware model")
        data = zoo.load_task(task, train=settings.images)
        train_donor(zoo.base_path(), data, out / task, grid=settings.weights, recipe=settings.recipe, task=task)
        donors[task] = open_donor(out, task)
    rows: list[Row] = []
    for task in settings.tasks:
        say(f"measuring receiver {task} at {settings.weights}")
        others = [donor for name, donor in donors.items() if name != task]
        for row in _measure(task, out / task / "fp", donors[task].vector, others, settings):
            append_row(out / ROWS_FILE, row)
            rows.append(row)
    _round_trip(out, settings, say)
    return rows


def _measure(
    task: str, receiver: Path, own: QuantizationVector, others: Sequence[OpenDonor], settings: DemoSettings
) -> Iterator[Row]:
    images = preprocess(zoo.load_task(task)["test"], load_processor(None, receiver))

    def count(method: str, vector: QuantizationVector | None = None, scale: float = 1.0, **about: Any) -> Row:
        grid = None if method == "fp" else settings.weights
        model = from_pretrained(receiver, vector=vector, weights=grid, scale=scale)
        result = evaluate(model, images, batch_size=250, progress=False)
        if method == "qvec":
            about |= {"scale": scale, "scale_policy": "unit" if scale == 1 else None}
        return Row.of(
            result,
            suite=SUITE,
            suite_version=SUITE_VERSION,
            receiver=task,
            dataset=f"zoo:{task}",
            method=method,
            grid=grid,
            seed=settings.recipe.seed,
            **about,
        )

    mean = merge([donor.vector for donor in others])
    parts = [replace(donor.use, weight=1 / len(others)) for donor in others]
    noise = random_like(mean)
    yield count("fp")
    yield count("ptq")
    yield count("own_qat", own)  # the receiver plus its own vector is its own QAT model
    for donor in others:
        yield count("qvec", donor.vector, settings.donor_scale, donors=[donor.use])
    for scale in (settings.mean_scale, *settings.mean_curve):
        yield count("qvec", mean, scale, donors=parts, merge="mean")
    for scale in (settings.mean_scale, *settings.random_curve):
        yield count("qvec", noise, scale, donors=parts, merge="mean", control="random")


def _round_trip(out: Path, settings: DemoSettings, say: Callable[[str], None]) -> None:
    """What a deployer does: load with vectors, save, load again; the logits must be the same to the last bit."""
    task = settings.tasks[0]
    receiver, saved = out / task / "fp", out / f"{task}-{settings.weights}"
    sources = [vector_source(out, name) for name in settings.tasks if name != task]
    model = from_pretrained(receiver, vector=sources, weights=settings.weights, scale=settings.mean_scale)
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
