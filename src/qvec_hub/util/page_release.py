"""Release mapped pages of a checkpoint to the system as soon as their tensors are packed."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

__all__ = ["IN_MEMORY", "PageRelease"]


# Bits of an entry of /proc/self/pagemap: a page that was written to is no longer the file's.
IN_MEMORY, SWAPPED, OF_A_FILE = 1 << 63, 1 << 62, 1 << 61


class PageRelease:
    """Releases the pages of tensors that are mapped from certain files; other memory is left alone.

    Pages that were written to since they were mapped are kept, because the changes would be lost.

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
