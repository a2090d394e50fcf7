"""Weights that arrive one by one are patched, rounded and packed beside the loading thread.

A float weight lives here only for the moment it takes to pack it. What it was read from is given back to
the system at once, so that a load never holds a whole float model, not even as mapped pages.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from .lineage import probe
from .patch import add_scaled
from .quanto import Packed, PackedLinear, pack_weight
from .vector import QuantizationVector

__all__ = ["PageRelease", "WeightStream"]


class WeightStream:
    """Packs the weights given to `put` on threads beside the caller's; `finish` ends it.

    One thread a weight: PyTorch's own threads help little with operations this short, waking one takes as long.

    Args:
        vector, scale: what is added first; None adds nothing.
    """

    WORKERS = 2
    AHEAD = 2  # weights that may wait for a worker; on a GPU each is a float tensor

    def __init__(self, vector: QuantizationVector | None, scale: float) -> None:
        self.vector, self.scale = vector, scale
        self.probes: dict[str, Tensor] = {}  # canonical name -> the receiver's weights at the sketch's positions
        self._threads = torch.get_num_threads()
        self._workers = ThreadPoolExecutor(self.WORKERS, "qvec", initializer=torch.set_num_threads, initargs=(1,))
        self._waiting: deque[tuple[PackedLinear, Future[Packed]]] = deque()
        self._local = threading.local()
        self._release = PageRelease()

    def put(self, layer: PackedLinear, name: str, tensor: Tensor, dtype: torch.dtype) -> None:
        """Have `tensor` (canonical `name`) patched, cast to the model's dtype and packed into `layer`."""
        while len(self._waiting) >= self.WORKERS + self.AHEAD:
            self._attach()
        self._waiting.append((layer, self._workers.submit(self._pack, layer, name, tensor, dtype)))

    def patched(self, name: str, tensor: Tensor, dtype: torch.dtype, out: Tensor | None = None) -> Tensor:
        """One tensor with the vector added, at once."""
        if self.vector is None:
            return tensor
        delta = self.vector[name]
        result = add_scaled(tensor, delta, self.scale, out).to(dtype)
        if self.vector.lineage and name in self.vector.lineage:
            self.probes[name] = probe(name, tensor)
        self._release(delta)
        return result

    def finish(self) -> None:
        """Wait for all weights.

        Raises:
            QVecError: the first error of any weight; the stream has ended then, too.
        """
        try:
            while self._waiting:
                self._attach()
        finally:
            self.close()

    def close(self) -> None:
        self._workers.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._threads)  # the worker's setting is also the default of threads to come

    def _attach(self) -> None:
        layer, packed = self._waiting.popleft()
        layer.hold(packed.result())  # by the caller's thread: nobody else changes modules

    @torch.no_grad()
    def _pack(self, layer: PackedLinear, name: str, tensor: Tensor, dtype: torch.dtype) -> Packed:
        space = None if self.vector is None else self._space_for(tensor)
        weight = self.patched(name, tensor, dtype, out=space)
        packed = pack_weight(weight, layer.grid, overwrite=space is not None)
        self._release(tensor)
        return packed

    def _space_for(self, tensor: Tensor) -> Tensor:
        """This thread's room for one patched weight: fresh memory for each would cost page faults."""
        space = getattr(self._local, "space", None)
        if space is None or space.device != tensor.device or space.numel() < tensor.numel():
            space = self._local.space = torch.empty(tensor.numel(), device=tensor.device)
        return space[: tensor.numel()].view(tensor.shape)


class PageRelease:
    """Gives the pages of tensors that are mapped from a file back to the system; others are left alone."""

    WORTHWHILE = 1 << 20  # bytes

    def __init__(self) -> None:
        self._mapped: list[tuple[int, int]] = []
        self._madvise = _madvise() if sys.platform.startswith("linux") else None

    def __call__(self, tensor: Tensor) -> None:
        if self._madvise is None or tensor.device.type != "cpu" or tensor.nbytes < self.WORTHWHILE:
            return
        page = mmap.PAGESIZE
        start, stop = -(-tensor.data_ptr() // page) * page, (tensor.data_ptr() + tensor.nbytes) // page * page
        if tensor.is_contiguous() and self._is_file(start, stop):
            self._madvise(start, stop - start, mmap.MADV_DONTNEED)  # clean pages: the file still has them

    def _is_file(self, start: int, stop: int) -> bool:
        if not any(low <= start and stop <= high for low, high in self._mapped):
            self._mapped = _file_mappings()
        return any(low <= start and stop <= high for low, high in self._mapped)


def _file_mappings() -> list[tuple[int, int]]:
    """Address ranges of read-only or private mappings of regular files."""
    ranges = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[4] != "0" and fields[5].startswith("/"):
            low, high = fields[0].split("-")
            ranges.append((int(low, 16), int(high, 16)))
    return ranges


def _madvise() -> Callable[[int, int, int], int]:
    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function
