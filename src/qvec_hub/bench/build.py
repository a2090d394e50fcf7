"""Train what a suite needs and its library does not hold yet: receivers, their twins, and the vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from datasets import DatasetDict

from ..data import dataset_revision
from ..errors import DataError
from ..training import train_donors
from ..zoo import BASES
from .library import Library
from .similarity import Similarity, task_similarity
from .suite import Suite
from .tasks import load_task_split

__all__ = ["Job", "build", "missing", "record_similarity", "recorded_similarity"]

Job = tuple[str, int, str]  # base, seed, task


def missing(suite: Suite, library: Library) -> list[Job]:
    """The tasks that something has yet to be trained for, in the suite's order."""
    jobs = [(base, seed, task.name) for base in suite.bases for seed in suite.seeds for task in suite.tasks]
    return [job for job in jobs if any(not library.vector(*job, grid).is_dir() for grid in suite.grids)]


def build(suite: Suite, library: Library, done: Callable[[Job], None]) -> None:
    """Train everything that is missing, task by task; what is finished is not trained again.

    Args:
        done: called after each job.

    Raises:
        DataError: a dataset cannot be read or has no such split.
        QVecError: whatever `train_donors` raises.
    """
    for job in missing(suite, library):
        base, seed, name = job
        spec = suite.task(name)
        train = load_task_split(spec, "train", suite.images)
        train_donors(
            library.base(base),
            DatasetDict({"train": train}),
            library.task(*job),
            grids=suite.grids,
            recipe=replace(suite.recipe, seed=seed, epochs=spec.epochs or suite.recipe.epochs),
            about={"task": name, "dataset": spec.dataset, "dataset_revision": dataset_revision(train)},
            # The zoo's models are trained in seconds: checkpoints would take longer than they could save.
            arguments={"save_strategy": "no"} if base in BASES else None,
        )
        done(job)


def record_similarity(suite: Suite, library: Library, base: str, done: Callable[[str], None]) -> None:
    """Measure how alike the suite's tasks look to a base, and keep it in the library."""
    path = library.similarity(base)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(task_similarity(suite, library, base, done), indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def recorded_similarity(suite: Suite, library: Library, base: str) -> Similarity | None:
    """What `record_similarity` kept, if it covers all of the suite's tasks.

    Raises:
        DataError: a damaged file.
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
