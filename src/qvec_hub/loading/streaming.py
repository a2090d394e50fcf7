"""Weights that arrive one by one are patched, rounded and packed beside the loading thread.

A float weight lives here only for the moment it takes to pack it. What it was read from is given back to
the system at once, so that a load never holds a whole float model, not even as mapped pages.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path

import torch
from torch import Tensor

from ..apply.patch import add_scaled
from ..artifact.lineage import probe
from ..layers.packed_linear import PackedLinear
from ..layers.packed_weight import Packed, pack_weight
from ..util.page_release import PageRelease
from ..util.threads import Workers
from ..vector.vector import QuantizationVector

__all__ = ["WeightStream"]


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
