"""Worker processes: cells counted side by side, each worker with a receiver of its own open."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, groupby, islice
from multiprocessing.process import BaseProcess
from typing import Any

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

__all__ = ["processes", "rows_by_workers", "worker_pool", "worthwhile_workers"]

MOST = 16  # workers; each holds torch, a task's images and the donors, half a gigabyte and more
PATIENCE = 10.0  # seconds


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
    receivers = [list(group) for _, group in groupby(cells, lambda cell: cell.place)]
    todo = iter(receivers)
    # A pool of one process each, as only this says which worker counts a cell.
    pools = [worker_pool(1, _open, suite, library) for _ in receivers[:workers]]
    streams = {pool: chain.from_iterable(todo) for pool in pools}  # a free worker takes the next receiver
    others = multiprocessing.active_children()
    asked = {pool.submit(_count, next(stream)): pool for pool, stream in streams.items()}
    started = [child for child in multiprocessing.active_children() if child not in others]
    try:
        while asked:
            for future in wait(asked, return_when=FIRST_COMPLETED).done:
                pool = asked.pop(future)
                yield _row(future, pool, started)
                for cell in islice(streams[pool], 1):
                    asked[pool.submit(_count, cell)] = pool
    finally:
        _end(pools, started)


def worker_pool(workers: int, initializer: Callable[..., None] | None = None, *arguments: Any) -> ProcessPoolExecutor:
    """A pool of processes that compute by a single thread each, and end when this process is interrupted or killed.

    Args:
        initializer: called with `arguments` at the start of each process.
    """
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    return ProcessPoolExecutor(workers, spawn, initializer=_be_a_worker, initargs=(initializer, *arguments))


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


def _row(future: Future[Row], pool: ProcessPoolExecutor, started: Sequence[BaseProcess]) -> Row:
    try:
        return future.result()
    except BrokenProcessPool:
        pool.shutdown()  # after which its worker's exit code is known
        code = next((worker.exitcode for worker in started if worker.exitcode), None)
        raise QVecError(
            f"bench run: expected a row from a worker, found that the process had ended (exit code {code}; "
            "-9 is often too little memory); the rows counted so far are kept, run it again to go on"
        ) from None


def _end(pools: Sequence[ProcessPoolExecutor], started: Sequence[BaseProcess]) -> None:
    """End the workers, each once it is through with its cell; those that take long in the middle of it."""
    ending = [threading.Thread(target=pool.shutdown) for pool in pools]  # which waits for the worker
    for thread in ending:
        thread.start()
    for worker in started:
        worker.join(PATIENCE)
        worker.terminate()
    for thread in ending:
        thread.join()


def _be_a_worker(initializer: Callable[..., None] | None, *arguments: Any) -> None:
    """Make this process one that computes by a single thread, and is ended by its parent rather than by Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if initializer is not None:
        initializer(*arguments)


def _end_with(parent: BaseProcess) -> None:
    """Do not go on writing, or waiting for work, when the parent was killed."""
    parent.join()
    os._exit(1)


_bench: Workbench  # of a worker process


def _open(suite: Suite, library: Library) -> None:
    global _bench
    _bench = Workbench(suite, library, torch.device("cpu"))


@quiet_transformers()
def _count(cell: Cell) -> Row:
    return _bench.count(cell)
