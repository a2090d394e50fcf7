"""Cells counted side by side: workers that each have a receiver open, and one process that takes in their rows."""

from __future__ import annotations

import multiprocessing
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, groupby
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from ..errors import QVecError
from ..training.progress import quiet_transformers
from .cells import Cell
from .library import Library
from .processes import be_a_worker
from .row import Row
from .suite import Suite
from .workbench import Workbench

__all__ = ["rows_by_crew"]

PATIENCE = 10.0  # seconds

Crew = dict[Connection, BaseProcess]  # workers by the line that each listens to


def rows_by_crew(suite: Suite, library: Library, cells: Sequence[Cell], workers: int) -> Generator[Row]:
    """The row of every cell, on the CPU, in the order in which they are counted.

    A worker takes a whole receiver at a time, so that each is opened once; it begins no cell before the caller has
    taken in the row of its last one.

    Args:
        cells: those of one receiver next to each other.
        workers: at most; there are no more of them than receivers.

    Raises:
        QVecError: whatever `Workbench.count` raises, or a worker that was ended from outside.
    """
    receivers = [list(group) for _, group in groupby(cells, lambda cell: (cell.base, cell.seed, cell.receiver))]
    todo = iter(receivers)
    with _crew(suite, library, min(workers, len(receivers))) as crew:
        streams = {line: chain.from_iterable(todo) for line in crew}  # whoever is done takes the next receiver
        for line, stream in streams.items():
            _ask(line, next(stream))
        while streams:
            ready = wait(list(streams))
            for line in [line for line in streams if line in ready]:
                yield _answer(line, crew[line])
                cell = next(streams[line], None)
                if cell is None:
                    del streams[line]
                else:
                    _ask(line, cell)


@contextmanager
def _crew(suite: Suite, library: Library, workers: int) -> Iterator[Crew]:
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    crew: Crew = {}
    try:
        for _ in range(workers):
            ours, theirs = spawn.Pipe()
            crew[ours] = spawn.Process(target=_work, args=(theirs, suite, library), daemon=True)
            crew[ours].start()
            theirs.close()  # the worker's copy is then the only one: when it ends, so does the line
        yield crew
    finally:
        for line in crew:
            line.close()  # which ends the worker, once it is through with its cell
        for worker in crew.values():
            worker.join(PATIENCE)
            worker.terminate()
            worker.join()


def _ask(line: Connection, cell: Cell) -> None:
    with suppress(OSError):  # a worker that is gone shows where its answer is awaited
        line.send(cell)


def _answer(line: Connection, worker: BaseProcess) -> Row:
    try:
        answer = line.recv()
    except (EOFError, OSError):
        worker.join()
        raise QVecError(
            f"bench run: expected a row from a worker, found that the process had ended (exit code {worker.exitcode}; "
            "-9 is often too little memory); the rows counted so far are kept, run it again to go on"
        ) from None
    if isinstance(answer, QVecError):
        raise answer
    return answer


def _work(line: Connection, suite: Suite, library: Library) -> None:
    """Answer each cell with its row, or with what is wrong with its files, until whoever asks is gone."""
    be_a_worker()
    bench = Workbench(suite, library, torch.device("cpu"))
    with quiet_transformers(), suppress(EOFError, BrokenPipeError):
        while True:
            cell = line.recv()
            try:
                answer: Row | QVecError = bench.count(cell)
            except QVecError as error:
                answer = error
            line.send(answer)
