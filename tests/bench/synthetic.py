"""Rows of a benchmark that never ran, with a known truth: for testing statistics and reports."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from qvec_hub.bench.context import Context, Trained
from qvec_hub.grid.grid import Grid
from qvec_hub.results.row import DonorUse, Row

GRIDS = ("int2-channel-absmax", "int2-channel-mse")
TASKS = ("digits", "shapes", "counting", "textures", "gratings", "colours")


def a_row(receiver: str, task: str, method: str, grid: str | None, share: float, n: int = 1000, **about: object) -> Row:
    values: dict[str, object] = {
        "suite": "synthetic",
        "suite_version": "1",
        "receiver": receiver,
        "receiver_revision": None,
        "dataset": f"zoo:{task}",
        "dataset_revision": None,
        "split": "test",
        "method": method,
        "grid": None if grid is None else Grid.parse(grid),
        "donors": (),
        "merge": None,
        "scale": None,
        "scale_policy": None,
        "control": None,
        "seed": 0,
        "n": n,
        "correct": min(n, max(0, round(share * n))),
        "wall_s": 0.1,
        "image_backend": "pil",
        "versions": {"qvec_hub": "0.1.0"},
        "device": "cpu",
        "created": "2026-11-20T12:00:00+00:00",
    }
    return Row(**(values | about))  # type: ignore[arg-type]


def synthetic(
    bases: Sequence[str] = ("base-xs", "base-s"),
    tasks: Sequence[str] = TASKS,
    grids: Sequence[str] = GRIDS,
    gain: float = 0.1,
    spread: float = 0.05,
    seeds: Sequence[int] = (0,),
    seed: int = 0,
) -> tuple[list[Row], Context]:
    """Every method, donor, control and merged vector of a suite; `gain` is the true mean gain of a donor.

    Donors and receivers each have an effect of their own (standard deviation `spread`), as in life: the cells
    are not independent.
    """
    rng = random.Random(seed)
    rows: list[Row] = []
    receivers, donors = {}, {}
    for base in bases:
        size = base.removeprefix("base-")
        effect = {task: (rng.gauss(0, spread), rng.gauss(0, spread)) for task in tasks}  # as receiver, as donor
        for task in tasks:
            receivers[f"zoo-{size}-{task}"] = Trained(base, task)
            for grid in grids:
                donors[f"zoo-{size}-{task}-{grid}-qvec"] = Trained(base, task)
        for run in seeds:
            for task in tasks:
                rows += _of_receiver(f"zoo-{size}-{task}", task, size, tasks, grids, gain, effect, rng, run)
    alike = {a: {b: 1.0 if a == b else round(rng.uniform(-0.2, 0.9), 3) for b in tasks} for a in tasks}
    alike = {a: {b: alike[min(a, b)][max(a, b)] for b in tasks} for a in tasks}
    sizes = {"base-xs": 211_000, "base-s": 460_000, "base-m": 1_500_000, "base-l": 4_000_000}
    context = Context(receivers, donors, {b: sizes.get(b, 1) for b in bases}, dict.fromkeys(bases, alike))
    return rows, context


def _of_receiver(receiver, task, size, tasks, grids, gain, effect, rng, run) -> list[Row]:  # type: ignore[no-untyped-def]
    rows = [a_row(receiver, task, "fp", None, 0.92, seed=run)]
    for grid in grids:
        plain = 0.3 if "absmax" in grid else 0.55

        def add(method, share, grid=grid, **about):  # type: ignore[no-untyped-def]
            rows.append(a_row(receiver, task, method, grid, share + rng.gauss(0, 0.01), seed=run, **about))

        add("ptq", plain)
        add("own_qat", 0.88)
        add("gptq", 0.85)
        add("awq", 0.7)
        for donor in tasks:
            use = (DonorUse(f"zoo-{size}-{donor}-{grid}-qvec"),)
            true = 0.5 if donor == task else gain + effect[task][0] + effect[donor][1]
            for scale in (0.5, 1.0, 1.5):
                share = plain + true * math.sin(scale * math.pi / 2)
                policy = "unit" if scale == 1 else None
                add("qvec", share, donors=use, scale=scale, scale_policy=policy)
            add("qvec", plain + true, donors=use, scale=0.9, scale_policy="validation")
            for control in ("random", "shuffle", "task_vector"):
                add("qvec", plain, donors=use, scale=1.0, scale_policy="unit", control=control)
        others = [d for d in tasks if d != task]
        parts = tuple(DonorUse(f"zoo-{size}-{d}-{grid}-qvec", None, 1 / len(others)) for d in others)
        for scale in (0.5, 1.0, 1.5):
            policy = "unit" if scale == 1 else None
            about = {"donors": parts, "merge": "mean", "scale": scale, "scale_policy": policy}
            add("qvec", plain + 1.5 * gain * scale, **about)
            add("qvec", plain, control="random", **about)
    return rows
