"""Cells counted side by side: workers that each have a receiver open, and one process that takes in their rows."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, groupby
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch
from accelerate import Accelerator, PartialState

from ..errors import QVecError
from ..results.row import Row
from ..training.progress import quiet_transformers
from ..zoo.base import BASES
from .cells import Cell
from .measure import Workbench
from .model_store import Library
from .suite import Suite

__all__ = ["be_a_worker", "processes", "rows_by_workers", "worthwhile_workers"]

PATIENCE = 10.0  # seconds

WorkersByPipe = dict[Connection, BaseProcess]  # worker processes by our end of their pipe


def rows_by_workers(suite: Suite, library: Library, cells: Sequence[Cell], workers: int) -> Generator[Row]:
    """Count every cell on worker processes on the CPU; yield each row as it is counted.

    A worker takes all cells of one receiver, so that each model is opened once, and begins a cell only after the caller
    has received the row of the one before.

    Args:
        cells: sorted so that those of one receiver are next to each other.
        workers: largest number of processes; at most one for each receiver is started.

    Raises:
        QVecError: as `Workbench.count`, or when a worker process was killed.
    """
    receivers = [list(group) for _, group in groupby(cells, lambda cell: (cell.base, cell.seed, cell.receiver))]
    todo = iter(receivers)
    with _started_workers(suite, library, min(workers, len(receivers))) as started:
        streams = {line: chain.from_iterable(todo) for line in started}  # a free worker takes the next receiver
        for line, stream in streams.items():
            _ask(line, next(stream))
        while streams:
            ready = wait(list(streams))
            for line in [line for line in streams if line in ready]:
                yield _answer(line, started[line])
                cell = next(streams[line], None)
                if cell is None:
                    del streams[line]
                else:
                    _ask(line, cell)


@contextmanager
def _started_workers(suite: Suite, library: Library, workers: int) -> Iterator[WorkersByPipe]:
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    started: WorkersByPipe = {}
    try:
        for _ in range(workers):
            ours, theirs = spawn.Pipe()
            started[ours] = spawn.Process(target=_work, args=(theirs, suite, library), daemon=True)
            started[ours].start()
            theirs.close()  # the worker's copy is then the only one: when it ends, so does the line
        yield started
    finally:
        for line in started:
            line.close()  # which ends the worker, once it is through with its cell
        for worker in started.values():
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


MOST = 16  # workers; each holds torch, a task's images and the donors, half a gigabyte and more


def processes() -> PartialState:
    """The state shared by the processes that torchrun or accelerate launch started; a state of one without them."""
    Accelerator()  # reads ACCELERATE_USE_CPU, which a PartialState that comes first would overlook
    return PartialState()


def worthwhile_workers(suite: Suite) -> int:
    """How many processes to share a suite's work among: on a CPU a core each for the zoo's small models, else one.

    Threads would wait for each other more than they help: two of them train such a model no faster than one.
    """
    state = processes()
    if state.device.type != "cpu" or state.num_processes > 1 or not set(suite.bases) <= set(BASES):
        return 1
    return min(os.cpu_count() or 1, MOST)


def be_a_worker() -> None:
    """Make this process one that computes by a single thread, and is ended by its parent rather than by Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    """Do not go on writing, or waiting for work, when the parent was killed."""
    parent.join()
    os._exit(1)
