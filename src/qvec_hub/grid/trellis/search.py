"""The codes whose levels come nearest to a column of weights: the Viterbi algorithm, compiled by numba."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .levels import table_of

__all__ = ["best_paths"]


def best_paths(wanted: Tensor, scale: Tensor, fan: int) -> tuple[Tensor, Tensor]:
    """The codes with the least ``Σ (wanted − scale · level)²`` in each column, and their levels.

    Columns are shared among PyTorch's threads; the result does not depend on how many there are.

    Args:
        wanted: float32 ``(columns, rows)``: a weight ``(out, in)`` transposed.
        scale: like `wanted`.
        fan: how many codes there are, see `FANS`.

    Returns:
        Codes, uint8, and levels, float32, both ``(columns, rows)``.
    """
    targets, scales = (each.detach().cpu().contiguous().numpy() for each in (wanted, scale))
    codes, levels = np.empty(targets.shape, np.uint8), np.empty(targets.shape, np.float32)
    search, table = _compiled(fan), _by_code(fan)
    if len(targets) == 1 or torch.get_num_threads() == 1:
        search(targets, scales, table, codes, levels)
    else:
        parts = [slice(*each) for each in _spread(len(targets), torch.get_num_threads())]
        with ThreadPoolExecutor(len(parts)) as pool:
            jobs = [pool.submit(search, targets[p], scales[p], table, codes[p], levels[p]) for p in parts]
            for job in jobs:
                job.result()
    return torch.from_numpy(codes).to(wanted.device), torch.from_numpy(levels).to(wanted.device)


@cache
def _by_code(fan: int) -> Any:
    """The table of levels, ``(codes, groups)``: see `_compiled`."""
    return table_of(fan).numpy().reshape(-1, fan).T.copy()


def _spread(count: int, threads: int) -> list[tuple[int, int]]:
    """Where the parts of `count` columns begin and end, one a thread."""
    parts = max(1, min(count, threads))
    return [(number * count // parts, (number + 1) * count // parts) for number in range(parts)]


@cache
def _compiled(fan: int) -> Any:
    """The search, compiled for one fan: only with a constant does the inner loop use vector instructions."""
    from numba import njit  # takes a third of a second, and is not needed to compute with codes

    def search(wanted: Any, scale: Any, table: Any, codes: Any, levels: Any) -> None:
        """Fill `codes` and `levels`, column by column.

        ``table[code, group]`` is the level of the state ``group · fan + code``. The states that lead to a group are
        ``group``, ``group + groups``, ``group + 2 · groups``, …: each loses its oldest code.
        """
        groups, rows = table.shape[1], wanted.shape[1]
        cost = np.empty(fan * groups, np.float32)  # of the best path to each state
        least = np.empty(groups, np.float32)
        lead = np.empty((rows, groups), np.uint8)  # which of the states that lead to a group the best path came from
        for column in range(len(wanted)):
            cost[:] = np.float32(1e30)
            cost[0] = 0.0
            for row in range(rows):
                for group in range(groups):
                    best, number = cost[group], np.int32(0)
                    for other in range(1, fan):
                        if cost[other * groups + group] < best:
                            best, number = cost[other * groups + group], np.int32(other)
                    least[group], lead[row, group] = best, number
                target, unit = wanted[column, row], scale[column, row]
                for group in range(groups):
                    for code in range(fan):
                        error = target - unit * table[code, group]
                        cost[group * fan + code] = least[group] + error * error
            state = int(np.argmin(cost))
            for row in range(rows - 1, -1, -1):
                group, code = state // fan, state % fan
                codes[column, row], levels[column, row] = code, table[code, group]
                state = lead[row, group] * groups + group

    try:
        return njit(cache=True, nogil=True)(search)
    except RuntimeError:  # no folder to keep the machine code in can be written
        return njit(nogil=True)(search)
