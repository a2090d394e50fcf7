"""The vectors of cells: opened once, merged, or replaced by a control."""

from __future__ import annotations

import hashlib
import zlib
from functools import cache
from pathlib import Path

from ..results.row import DonorUse
from ..vector.merge import merge
from ..vector.vector import QuantizationVector
from .cells import Cell
from .controls.registry import CONTROLS
from .model_store import Library, donor_name, receiver_label
from .receiver import Vector

__all__ = ["Donors", "revision_of"]

MEMORY = 2 * 2**30  # bytes of vectors to keep; what does not fit is read again from its file, which is mapped


class Donors:
    """The vectors of a library."""

    def __init__(self, library: Library, memory: int = MEMORY) -> None:
        self.library, self.memory = library, memory
        self._opened: dict[Path, QuantizationVector] = {}
        self._controls: dict[tuple[str, QuantizationVector], QuantizationVector] = {}
        self._kept: dict[QuantizationVector, Vector] = {}
        self._revision = cache(revision_of)

    def vector(self, cell: Cell) -> QuantizationVector:
        """The vector of a cell before scaling: one vector, several merged, or a control of either.

        Raises:
            ArtifactError: when a vector is not in the library, or is damaged.
        """
        vectors = [self._open(cell, donor) for donor in cell.donors]
        whole = merge(vectors, cell.merge) if cell.merge else vectors[0]
        # Each pair gets its own control: one for all would favour or harm all of them together by chance.
        seed = zlib.crc32(f"{receiver_label(cell.receiver, cell.kind)} {cell.donors}".encode())
        return whole if cell.control is None else self._control(cell, whole, seed)

    def tensors(self, vector: QuantizationVector) -> Vector:
        """A vector's tensors in memory; those of single donors are kept while memory allows."""
        if vector in self._kept:
            return self._kept[vector]
        tensors = {name: vector[name] for name in vector}
        size = sum(tensor.nbytes for tensor in tensors.values())
        shared = *self._opened.values(), *self._controls.values()
        if vector in shared and size <= self.memory:
            self.memory -= size
            self._kept[vector] = tensors
        return tensors

    def used(self, cell: Cell) -> tuple[DonorUse, ...]:
        """A cell's donors as named in its row; a local vector's revision is the hash of its content."""
        if cell.grid is None:
            return ()
        weight = 1 / len(cell.donors) if cell.merge else 1.0
        return tuple(
            DonorUse(donor_name(cell.base, donor, cell.grid), self._revision(self._open(cell, donor)), weight)
            for donor in cell.donors
        )

    def _control(self, cell: Cell, vector: QuantizationVector, seed: int) -> QuantizationVector:
        """A control of a vector; one that depends on a donor's models is kept, because loading them takes long."""
        control = CONTROLS.get(cell.control)
        key = (control.name, vector)
        if key in self._controls:
            return self._controls[key]

        def models() -> tuple[Path, str | Path]:
            return self.library.fp(cell.base, cell.seed, cell.donors[0]), self.library.base(cell.base)

        made = control.make(vector, seed, models)
        if control.single_donor:
            self._controls[key] = made
        return made

    def _open(self, cell: Cell, donor: str) -> QuantizationVector:
        assert cell.grid is not None
        folder = self.library.vector(cell.base, cell.seed, donor, cell.grid)
        if folder not in self._opened:
            self._opened[folder] = QuantizationVector.from_pretrained(folder)
        return self._opened[folder]


def revision_of(vector: QuantizationVector) -> str | None:
    """``sha256:…`` of a local vector's tensors and images, used as its revision."""
    if vector.config.tensors is None:
        return None
    images = vector.images()
    if images is None:
        return f"sha256:{vector.config.tensors.sha256}"
    return f"sha256:{hashlib.sha256(vector.config.tensors.sha256.encode() + images.numpy().tobytes()).hexdigest()}"
