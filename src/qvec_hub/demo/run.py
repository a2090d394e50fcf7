"""Train donors on zoo tasks, use each other's vectors, and count."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from .. import zoo
from ..backbone.processor import load_processor
from ..backbone.provenance import known_origin
from ..bench.controls.random_vector import random_like
from ..errors import QVecError
from ..evaluation.images import preprocess
from ..evaluation.runner import evaluate
from ..loading.from_pretrained import from_pretrained, save_model
from ..results.row import Row
from ..results.rows import append_row
from ..training.donor import train_donor
from ..training.folder import RECORD, remove_run
from ..training.recipe import TrainingRecipe
from ..vector.merge import merge
from ..vector.vector import QuantizationVector
from .hub_store import OpenDonor, Shelf

__all__ = ["BEST", "ROWS_FILE", "SUITE", "DemoSettings", "remove_demo", "run_demo"]

SUITE, SUITE_VERSION = "demo", "1"
ROWS_FILE = "rows.jsonl"
BEST = "proxy_tuned"  # what several vectors are loaded with where nothing else is asked for


@dataclass(frozen=True)
class DemoSettings:
    """What the demo does, by default the published protocol: the paper's grid, and vectors added whole.

    The scale is a constant: no image of a run's receivers has a say in it.
    """

    tasks: tuple[str, ...] = ("glyphs-latin", "glyphs-greek", "shapes", "counting", "textures")
    weights: str = "int2-channel-absmax"
    images: int = 3000
    share_images: int = 64  # that a vector carries
    recipe: TrainingRecipe = field(
        default_factory=lambda: TrainingRecipe(
            epochs=6, learning_rate=3e-4, warmup_steps=30, weight_decay=0.1, head="probe"
        )
    )
    scale: float = 1.0
    mean_curve: tuple[float, ...] = (0.25, 0.5, 0.75, 1.5, 2.0)  # scales of the figure, beside `scale`
    random_curve: tuple[float, ...] = (0.5, 1.5, 2.0)


def run_demo(out: Path, settings: DemoSettings, say: Callable[[str], None], namespace: str | None = None) -> list[Row]:
    """Make the donors in `out` and measure every receiver with the vectors of the *other* tasks.

    Each row is appended to ``rows.jsonl`` in `out` as soon as it is counted.

    Args:
        say: called with one line at each step.
        namespace: a user or organisation on the Hub to publish base, models and vectors under; they are then loaded
            from there, and the vectors' cards say what was measured.

    Raises:
        QVecError: `out` holds something else, a setting does not exist, or the Hub refuses.
    """
    if len(settings.tasks) < 2:
        raise QVecError("demo: expected at least two tasks, so that one can help the other")
    shelf = Shelf(out, settings.weights, namespace)
    base = shelf.base()
    donors = {}
    for number, task in enumerate(settings.tasks, 1):
        say(f"[{number}/{len(settings.tasks)}] {task}: training a plain and a quantization-aware model")
        data = zoo.load_task(task, train=settings.images)
        train_donor(
            base,
            data,
            out / task,
            grid=settings.weights,
            recipe=settings.recipe,
            task=task,
            share_images=settings.share_images,
        )
        donors[task] = shelf.put(task, settings.scale)
    rows: list[Row] = []
    for task in settings.tasks:
        say(f"measuring receiver {task} at {settings.weights}")
        others = [donor for name, donor in donors.items() if name != task]
        for row in _measure(task, shelf.model(task), donors[task].vector, others, settings):
            append_row(out / ROWS_FILE, row)
            rows.append(row)
    if namespace is not None:
        say(f"publishing what was measured; the cards are in {shelf.describe(settings.tasks, rows)[0].parents[1]}")
    _round_trip(shelf, settings, say)
    return rows


def remove_demo(out: Path, settings: DemoSettings) -> None:
    """Remove what an earlier demo trained and counted in a folder; what others put there stays."""
    (out / ROWS_FILE).unlink(missing_ok=True)
    for task in settings.tasks:
        for name in ("fp", "qat", "vector"):
            shutil.rmtree(out / task / name, ignore_errors=True)
            remove_run(out / task / name)
        (out / task / RECORD).unlink(missing_ok=True)
        with suppress(OSError):
            (out / task).rmdir()


def _measure(
    task: str, receiver: str | Path, own: QuantizationVector, others: Sequence[OpenDonor], settings: DemoSettings
) -> Iterator[Row]:
    images = preprocess(zoo.load_task(task)["test"], load_processor(receiver))

    def count(method: str, vector: QuantizationVector | None = None, scale: float | str = 1.0, **about: Any) -> Row:
        grid = None if method == "fp" else settings.weights
        rounding = "tuned" if method == BEST else "nearest"
        model = from_pretrained(receiver, vector=vector, weights=grid, scale=scale, rounding=rounding)
        place = known_origin(model)
        if method == "qvec":
            about = {"scale": scale, "scale_policy": "unit" if scale == 1 else None, **about}
        if method == BEST:
            about = {"scale": model.config.quantization_config.scale, "scale_policy": "auto", **about}
        return Row.of(
            evaluate(model, images, batch_size=250, progress=False),
            suite=SUITE,
            suite_version=SUITE_VERSION,
            receiver=place.repo_id or task,
            receiver_revision=place.revision,
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
        about = {"donors": [donor.use], "scale_policy": "recommended"}
        yield count("qvec", donor.vector, settings.scale, **about)
        yield count("qvec", random_like(donor.vector), settings.scale, **about, control="random")
    for scale in (settings.scale, *settings.mean_curve):
        yield count("qvec", mean, scale, donors=parts, merge="mean")
    yield count(BEST, mean, "auto", donors=parts, merge="mean")
    for scale in (settings.scale, *settings.random_curve):
        yield count("qvec", noise, scale, donors=parts, merge="mean", control="random")


def _round_trip(shelf: Shelf, settings: DemoSettings, say: Callable[[str], None]) -> None:
    """What a deployer does: load with vectors, save or publish, load again; the logits must be the same."""
    task = settings.tasks[0]
    receiver, saved = shelf.model(task), shelf.quantized(task)
    sources = [shelf.vector(name) for name in settings.tasks if name != task]
    model = from_pretrained(receiver, vector=sources, weights=settings.weights, scale=settings.scale)
    if isinstance(saved, Path):
        save_model(model, saved)
    else:
        model.push_to_hub(saved)  # type: ignore[arg-type]  # a method, whatever its wrapper says
    again = from_pretrained(saved)
    pixels = torch.randn(8, *_input_shape(model), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        if not torch.equal(model(pixels).logits, again(pixels).logits):
            raise QVecError(f"{saved}: the reloaded model answers differently; please report this")
    before, after = (sum(t.nbytes for t in m.state_dict().values()) for m in (from_pretrained(receiver), again))
    say(f"{saved}: {after / 1e3:.0f} kB instead of {before / 1e3:.0f} kB; reloaded with identical logits")


def _input_shape(model: Any) -> tuple[int, int, int]:
    return model.config.num_channels, model.config.image_size, model.config.image_size
