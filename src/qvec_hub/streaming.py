"""Weights that arrive one by one are patched, rounded and packed beside the loading thread.

A float weight lives here only for the moment it takes to pack it. What it was read from is given back to
the system at once, so that a load never holds a whole float model, not even as mapped pages.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .lineage import probe
from .patch import add_scaled
from .quanto import Packed, PackedLinear, pack_weight
from .vector import QuantizationVector
from .workers import Workers

__all__ = ["PageRelease", "WeightStream"]

# Bits of an entry of /proc/self/pagemap: a page that was written to is no longer the file's.
IN_MEMORY, SWAPPED, OF_A_FILE = 1 << 63, 1 << 62, 1 << 61


class WeightStream:
    """Packs the weights given to `put` on threads beside the caller's; `finish` ends it.

    One thread a weight: PyTorch's own threads help little with operations this short, waking one takes as long.

    Args:
        vector, scale: what is added first; None adds nothing.
        files: that are open for this load alone. Pages mapped from them are given back once they have been read; memory
            of any other origin may be somebody else's, who may have written to it.
    """

    WORKERS = 2
    AHEAD = 2  # weights that may wait for a worker; on a GPU each is a float tensor

    def __init__(self, vector: QuantizationVector | None, scale: float, files: Iterable[str | Path] = ()) -> None:
        self.vector, self.scale = vector, scale
        self.probes: dict[str, Tensor] = {}  # canonical name -> the receiver's weights at the sketch's positions
        self._workers: Workers[Packed] = Workers(self.WORKERS, "qvec")
        self._waiting: deque[tuple[PackedLinear, Future[Packed]]] = deque()
        self._local = threading.local()
        self._release = PageRelease(files)

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
        self._workers.close()

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
    """Gives the pages of tensors that are mapped from certain files back to the system; others are left alone.

    A page that was written to since it was mapped is left alone, too: what was written would be lost.

    Args:
        files: checkpoints; links are followed.
    """

    WORTHWHILE = 1 << 20  # bytes

    def __init__(self, files: Iterable[str | Path]) -> None:
        self._files = {os.path.realpath(file) for file in files}
        self._mapped: list[tuple[int, int]] = []
        self._madvise = _madvise() if self._files and sys.platform.startswith("linux") else None

    def __call__(self, tensor: Tensor) -> None:
        if self._madvise is None or tensor.device.type != "cpu" or tensor.nbytes < self.WORTHWHILE:
            return
        page = mmap.PAGESIZE
        start, stop = -(-tensor.data_ptr() // page) * page, (tensor.data_ptr() + tensor.nbytes) // page * page
        if tensor.is_contiguous() and self._is_mapped(start, stop) and _is_clean(start, stop):
            self._madvise(start, stop - start, mmap.MADV_DONTNEED)

    def _is_mapped(self, start: int, stop: int) -> bool:
        if not any(low <= start and stop <= high for low, high in self._mapped):
            self._mapped = list(_mappings(self._files))
        return any(low <= start and stop <= high for low, high in self._mapped)


def _mappings(files: Container[str]) -> Iterator[tuple[int, int]]:
    """Address ranges of mappings of these files."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] in files:
            low, high = fields[0].split("-")
            yield int(low, 16), int(high, 16)


def _is_clean(start: int, stop: int) -> bool:
    """Whether every page of a mapping of a file still is the file's; False where the system does not tell."""
    page = mmap.PAGESIZE
    try:
        with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:  # 8 bytes a page
            entries = np.frombuffer(
                os.pread(pagemap.fileno(), (stop - start) // page * 8, start // page * 8), np.uint64
            )
    except OSError:
        return False
    held = entries & np.uint64(IN_MEMORY | SWAPPED) != 0
    return len(entries) == (stop - start) // page and not bool((held & (entries & np.uint64(OF_A_FILE) == 0)).any())


def _madvise() -> Callable[[int, int, int], int]:
    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function
