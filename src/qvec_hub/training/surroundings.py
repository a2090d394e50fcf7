"""Restore the state of the process after a training: random states, environment, torch's switches."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from accelerate.state import AcceleratorState

__all__ = ["surroundings_kept"]


@contextmanager
def surroundings_kept() -> Iterator[None]:
    """Restore everything that the Trainer sets for the whole process, however the block ends.

    These are the random states of Python, NumPy and torch, environment variables, torch's deterministic mode and its
    number of threads, the precision of matrix products, and accelerate's state (else a later ``Accelerator`` of
    another precision is refused).
    """
    drawn = random.getstate(), np.random.get_state()  # noqa: NPY002  # the global one, which is what the Trainer seeds
    environment, state = dict(os.environ), dict(AcceleratorState._shared_state)
    cudnn = torch.backends.cudnn
    switches = cudnn.deterministic, cudnn.benchmark
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(drawn[0])
        np.random.set_state(drawn[1])  # noqa: NPY002
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        AcceleratorState._shared_state.clear()
        AcceleratorState._shared_state.update(state)
        cudnn.deterministic, cudnn.benchmark = switches
        torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
