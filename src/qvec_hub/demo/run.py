"""Run the suite ``demo``, then do what a deployer does with its models."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ..bench.context import CONTEXT_FILE
from ..bench.model_store import Library, donor_name, receiver_name
from ..bench.runner import ROWS_FILE, SUITE_FILE, open_run, run_suite
from ..bench.suite import Suite, load_suite
from ..bench.verify import verify
from ..errors import QVecError
from ..grid.grid import Grid
from ..loading.from_pretrained import from_pretrained, save_model
from ..results.row import Row
from .publish import publish, renamed, write_cards

__all__ = ["demo_suite", "remove_demo", "run_demo"]

MODELS, CARDS = "models", "cards"  # folders in the demo's
SAMPLE = 6  # rows to count again

Source = str | Path  # a Hub id or a folder


def demo_suite(weights: str) -> Suite:
    """The suite ``demo`` on a grid of this name.

    Raises:
        GridError: when there is no such grid.
    """
    return load_suite("demo").model_copy(update={"grids": (Grid.parse(weights),)})


def run_demo(suite: Suite, out: Path, say: Callable[[str], None], namespace: str | None = None) -> list[Row]:
    """Run a suite, publish its models, count some rows again, and load a quantized model that was saved.

    Args:
        suite: of one base, seed and grid, and at least two tasks, so that one can help the other.
        out: folder of the run, see `run_suite`; with `namespace`, ``cards`` in it holds the vectors' cards.
        say: called with one line of text at each step.
        namespace: a user or organization on the Hub to publish base, models, vectors and results under; models and
            vectors are then loaded from there.

    Returns:
        The rows of ``rows.jsonl``; with `namespace` those of ``cards/rows.jsonl``, which have Hub ids and commits.

    Raises:
        QVecError: when a model, vector or dataset cannot be read, the Hub refuses, or the model that was saved and
            loaded gives other logits.
    """
    library = Library(out / MODELS)
    run_suite(suite, out, library.root, say=say)
    rows, context, _ = open_run(out)
    base, seed, grid = suite.bases[0], suite.seeds[0], suite.grids[0]
    first, *others = (task.name for task in suite.tasks)
    name = f"{receiver_name(base, first)}-{grid.name}"
    receiver: Source = library.fp(base, seed, first)
    vectors: list[Source] = [library.vector(base, seed, task, grid) for task in others]
    saved: Source = out / name
    if namespace is not None:
        say(f"publishing as {namespace}; the vectors' cards are in {out / CARDS}")
        places = publish(suite, library, namespace)
        rows = [renamed(row, places) for row in rows]
        write_cards(suite, places, rows, out / CARDS)
        receiver = places[receiver_name(base, first)].repo_id
        vectors = [places[donor_name(base, task, grid)].repo_id for task in others]
        saved = f"{namespace}/{name}"
    loadable = [row for row in rows if row.control is None and row.method != "own_qat"]
    checks = verify(loadable, SAMPLE, context=context, library=library)
    same = sum(check.reproduces is True for check in checks)
    say(f"{same} of {len(checks)} rows have the same counts where models and vectors are loaded by name")
    _round_trip(receiver, vectors, saved, grid, say)
    return rows


def remove_demo(out: Path) -> None:
    """Remove what an earlier demo trained and counted in a folder; what others put beside it stays."""
    shutil.rmtree(out / MODELS, ignore_errors=True)
    for name in (ROWS_FILE, SUITE_FILE, CONTEXT_FILE):
        (out / name).unlink(missing_ok=True)


def _round_trip(
    receiver: Source, vectors: Sequence[Source], saved: Source, grid: Grid, say: Callable[[str], None]
) -> None:
    """What a deployer does: load with vectors, save or publish, load again; the logits must be the same."""
    model = from_pretrained(receiver, vector=vectors, weights=grid, scale=1.0)
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
