"""Which of several processes this is, and how many more are worth starting."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.process import BaseProcess

import torch
from accelerate import Accelerator, PartialState

from ..zoo import BASES
from .suite import Suite

__all__ = ["be_a_worker", "processes", "worthwhile_workers"]

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
