"""Progress on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["counting"]

LINE_EVERY = 10.0  # seconds


@contextmanager
def counting(what: str, total: int, show: bool = True) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of things done since its last call."""
    console = Console(stderr=True)
    if not show:
        yield lambda done: None
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.advance(task, done)
    else:
        yield _lines(what, total)


def _lines(what: str, total: int) -> Callable[[int], None]:
    done, last = 0, time.perf_counter()

    def advance(more: int) -> None:
        nonlocal done, last
        done += more
        if time.perf_counter() - last >= LINE_EVERY:
            last = time.perf_counter()
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    return advance
