"""Make what a suite needs and its library does not hold yet: bases, receivers, twins, vectors; compare its tasks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from datasets import DatasetDict

from ..data.hub_dataset import dataset_revision
from ..errors import DataError, QVecError
from ..training.donor import train_donors
from ..training.probe import train_probe
from ..training.progress import quiet_transformers
from ..util.atomic import write_text
from ..util.disk import refuse_full_disk
from ..util.progress import counting
from ..util.scratch import check_writable, real_path
from ..zoo.base import BASES
from ..zoo.pretraining import make_base
from ..zoo.registry import ZOO
from .bases import MADE, make_bases
from .build_cost import Job, Need, cost_of, needs
from .model_store import PROBE, Library
from .splits import load_task_split
from .suite import Suite
from .task_similarity import Similarity, task_similarity
from .workers import processes, worker_pool, worthwhile_workers

__all__ = ["build_library", "recorded_similarity"]

# The zoo's models are trained in seconds: checkpoints would take longer than they could save, and the bar is enough.
SECONDS = {"save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
MINUTES = {"save_strategy": "no"}  # made bases: what an interruption loses is little, checkpoints would be gigabytes
SHARED = 64  # images of a zoo task that travel with its vector


@quiet_transformers()
def build_library(
    suite: Suite,
    library: Library,
    say: Callable[[str], None],
    pretrain: bool = False,
    base_from: str | Path | None = None,
) -> int:
    """Make all missing models and record their tasks' similarity; finished ones are not touched.

    Says first what that costs. A model is in its folder only when it is complete, so an interrupted build goes on with
    the model that it was at.

    Args:
        say: called with one line at each step.
        pretrain: also pretrain the zoo's bases instead of using those of the package.
        base_from: what to make the suite's base of, as for `make_bases`.

    Returns:
        Number of tasks that models were made for.

    Raises:
        DataError: when a dataset cannot be read or has no such split.
        QVecError: when there is no room on the disk, and as `make_bases` and `train_donors`.
    """
    state = processes()
    show = state.is_main_process
    real_path(library.root)
    missing = needs(suite, library)
    if missing or pretrain or any(recorded_similarity(suite, library, base) is None for base in suite.bases):
        check_writable(library.root)
    if show:
        make_bases(suite, library, say, base_from)
    state.wait_for_everyone()
    if pretrain:
        _pretrain(suite, library, say)
    if missing and show:
        say(f"training the models of {len(missing)} tasks in {library.root}, which is done once")
        _foretell(suite, library, missing, say)
    with counting("training tasks", len(missing), show and bool(missing)) as advance, _mapping(suite) as mapping:
        for _ in mapping(partial(_train, suite, library), missing.items()):
            advance(1)
    for base in suite.bases:
        if show and recorded_similarity(suite, library, base) is None:
            with counting(f"comparing tasks under {base}", len(suite.tasks)) as advance:
                _record_similarity(suite, library, base, lambda task: advance(1))
    return len(missing)


def recorded_similarity(suite: Suite, library: Library, base: str) -> Similarity | None:
    """Read the similarity of the suite's tasks under a base; None if it is not recorded for all of them.

    Raises:
        DataError: when the file is damaged.
    """
    path = library.similarity(base)
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        names = [task.name for task in suite.tasks]
        return {one: {two: float(found[one][two]) for two in names} for one in names}
    except KeyError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: expected the tasks' similarity, found {error!r}; remove the file") from error


@contextmanager
def _mapping(suite: Suite) -> Iterator[Callable[..., Iterable[None]]]:
    """Yield a function that maps jobs, one after the other or in worker processes."""
    workers = worthwhile_workers(suite)
    if workers == 1:
        yield map
        return
    with worker_pool(workers) as pool:
        yield pool.map


def _pretrain(suite: Suite, library: Library, say: Callable[[str], None]) -> None:
    for base in suite.bases:
        if base not in BASES:
            raise QVecError(f"base {base!r}: expected one of the zoo's to pretrain, {', '.join(BASES)}")
        if library.own_base(base).is_dir():
            continue
        if any(library.task(base, seed, "x").parent.is_dir() for seed in suite.seeds):
            raise QVecError(
                f"base {base!r}: expected none of its models in '{library.root}' yet, found some, trained from the "
                "package's; name another folder with --out"
            )
        say(f"pretraining {base}")
        make_base(library.own_base(base), base)


def _foretell(suite: Suite, library: Library, missing: Mapping[Job, Need], say: Callable[[str], None]) -> None:
    """Say what a build costs, and refuse one that the disk has no room for."""
    checkpoints = not set(suite.bases) <= {*BASES, *MADE}
    cost = cost_of(suite, library, missing, processes().device, worthwhile_workers(suite), checkpoints=checkpoints)
    refuse_full_disk(library.root, cost.bytes, f"{cost.models} models and {cost.vectors} vectors")
    say(str(cost))


def _train(suite: Suite, library: Library, job_and_need: tuple[Job, Need]) -> None:
    job, need = job_and_need
    base, seed, name = job
    spec = suite.task(name)
    train = load_task_split(spec, "train", suite.images)
    data, probe = DatasetDict({"train": train}), library.probe(*job)
    if need.probe:
        train_probe(library.base(base), data, probe)
    if not need.vectors:
        return
    train_donors(
        library.base(base),
        data,
        library.task(*job),
        grids=suite.grids,
        recipe=replace(suite.recipe, seed=seed, epochs=spec.epochs or suite.recipe.epochs),
        about={"task": name, "dataset": spec.dataset, "dataset_revision": dataset_revision(train)},
        arguments=SECONDS if base in BASES else MINUTES if base in MADE else None,
        share_images=SHARED if spec.dataset.startswith(ZOO) else 0,  # others' images are not ours to publish
        probe=probe if PROBE in suite.kinds else None,
    )


def _record_similarity(suite: Suite, library: Library, base: str, done: Callable[[str], None]) -> None:
    path = library.similarity(base)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(task_similarity(suite, library, base, done), indent=1) + "\n")
