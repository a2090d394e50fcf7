"""The vectors that cells add: opened once, merged, or with a control in their place."""

from __future__ import annotations

import hashlib
import zlib
from functools import cache
from pathlib import Path

from ..results.row import DonorUse
from ..vector.merge import merge
from ..vector.vector import QuantizationVector
from .baselines.controls import random_like, shuffled, task_vector_like
from .cells import Cell
from .model_store import Library, donor_name
from .receiver import Vector

__all__ = ["Donors", "revision_of"]

MEMORY = 2 * 2**30  # bytes of vectors to keep; what does not fit is read again from its file, which is mapped


class Donors:
    """The vectors of a library."""

    def __init__(self, library: Library, memory: int = MEMORY) -> None:
        self.library, self.memory = library, memory
        self._opened: dict[Path, QuantizationVector] = {}
        self._task_vectors: dict[QuantizationVector, QuantizationVector] = {}
        self._kept: dict[QuantizationVector, Vector] = {}
        self._revision = cache(revision_of)

    def vector(self, cell: Cell) -> QuantizationVector:
        """What a cell adds, before it is scaled: one vector, several merged, or a control of either.

        Raises:
            ArtifactError: a vector that is not in the library, or is damaged.
        """
        vectors = [self._open(cell, donor) for donor in cell.donors]
        whole = merge(vectors, cell.merge) if cell.merge else vectors[0]
        # Every pair has a control of its own: with one for all, chance would favour or harm all of them together.
        seed = zlib.crc32(f"{cell.receiver} {cell.donors}".encode())
        if cell.control == "random":
            return random_like(whole, seed)
        if cell.control == "shuffle":
            return shuffled(whole, seed)
        return self._task_vector(cell, whole) if cell.control == "task_vector" else whole

    def tensors(self, vector: QuantizationVector) -> Vector:
        """A vector's tensors in memory; those of single donors stay there, as far as there is room."""
        if vector in self._kept:
            return self._kept[vector]
        tensors = {name: vector[name] for name in vector}
        size = sum(tensor.nbytes for tensor in tensors.values())
        shared = *self._opened.values(), *self._task_vectors.values()
        if vector in shared and size <= self.memory:
            self.memory -= size
            self._kept[vector] = tensors
        return tensors

    def used(self, cell: Cell) -> tuple[DonorUse, ...]:
        """A cell's donors as its row names them; a local vector's revision is the hash of what it holds."""
        if cell.grid is None:
            return ()
        weight = 1 / len(cell.donors) if cell.merge else 1.0
        return tuple(
            DonorUse(donor_name(cell.base, donor, cell.grid), self._revision(self._open(cell, donor)), weight)
            for donor in cell.donors
        )

    def _task_vector(self, cell: Cell, vector: QuantizationVector) -> QuantizationVector:
        if vector not in self._task_vectors:
            finetuned = self.library.fp(cell.base, cell.seed, cell.donors[0])
            self._task_vectors[vector] = task_vector_like(vector, finetuned, self.library.base(cell.base))
        return self._task_vectors[vector]

    def _open(self, cell: Cell, donor: str) -> QuantizationVector:
        assert cell.grid is not None
        folder = self.library.vector(cell.base, cell.seed, donor, cell.grid)
        if folder not in self._opened:
            self._opened[folder] = QuantizationVector.from_pretrained(folder)
        return self._opened[folder]


def revision_of(vector: QuantizationVector) -> str | None:
    """``sha256:…`` of what a local vector holds, its tensors and pictures, which serves as its revision."""
    if vector.config.tensors is None:
        return None
    images = vector.images()
    if images is None:
        return f"sha256:{vector.config.tensors.sha256}"
    return f"sha256:{hashlib.sha256(vector.config.tensors.sha256.encode() + images.numpy().tobytes()).hexdigest()}"
