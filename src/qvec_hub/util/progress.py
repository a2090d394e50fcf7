"""Show progress on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

__all__ = ["Stages", "counting", "stages"]

Stages = Callable[[str, int, int], None]  # what is being done, how much of it is done, of how much

LINE_EVERY = 10.0  # seconds


@contextmanager
def counting(what: str, total: int, show: bool = True) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of steps done since its last call."""
    done = 0
    with stages(show) as progress:
        progress(what, 0, total)

        def advance(more: int) -> None:
            nonlocal done
            done += more
            progress(what, done, total)

        yield advance


@contextmanager
def stages(show: bool | None = None) -> Iterator[Stages]:
    """Yield a function ``progress(stage, steps_done, steps_in_all)`` that shows a bar for each stage.

    Args:
        show: by default only on a terminal.
    """
    console = Console(stderr=True)
    if not (console.is_terminal if show is None else show):
        yield lambda what, done, total: None
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            tasks: dict[str, TaskID] = {}

            def update(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what, total=total)
                bar.update(tasks[what], completed=done)

            yield update
    else:
        yield _lines()


def _lines() -> Stages:
    last = time.perf_counter()

    def line(what: str, done: int, total: int) -> None:
        nonlocal last
        if time.perf_counter() - last >= LINE_EVERY:
            last = time.perf_counter()
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    return line
