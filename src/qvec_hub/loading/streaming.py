"""Load streaming: patch, round and pack each arriving weight on worker threads.

A float weight is held only while it is packed, and its mapped pages are released at once, so that a load never holds a
whole float model.
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
    """Packs the weights given to `put` on worker threads; `finish` waits for them.

    Each weight is packed by one thread: these operations are too short for PyTorch's own threads to help.

    Args:
        vector, scale: added before packing; a vector of None adds nothing.
        files: files that only this load has open. Their mapped pages are released after reading; memory of any other
            origin is left alone, because other code may use it.
    """

    WORKERS = 2
    AHEAD = 2  # weights that may wait for a worker; each is a float tensor, on a GPU too

    def __init__(self, vector: QuantizationVector | None, scale: float, files: Iterable[str | Path] = ()) -> None:
        self.vector, self.scale = vector, scale
        self.probes: dict[str, Tensor] = {}  # canonical name -> the receiver's weights at the fingerprint's positions
        self._workers: Workers[Packed] = Workers(self.WORKERS, "qvec")
        self._waiting: deque[tuple[PackedLinear, Future[Packed]]] = deque()
        self._local = threading.local()
        self._release = PageRelease(files)

    def put(self, layer: PackedLinear, name: str, tensor: Tensor, dtype: torch.dtype) -> None:
        """Patch `tensor` (canonical `name`), cast it to `dtype` and pack it into `layer`, on a worker thread."""
        while len(self._waiting) >= self.WORKERS + self.AHEAD:
            self._attach()
        self._waiting.append((layer, self._workers.submit(self._pack, layer, name, tensor, dtype)))

    def patched(self, name: str, tensor: Tensor, dtype: torch.dtype, out: Tensor | None = None) -> Tensor:
        """Return one tensor with the vector added, computed in this thread."""
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
            QVecError: the first error of any weight; all workers have ended by then.
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
        layer.hold(packed.result())  # in the caller's thread: no other thread changes modules

    @torch.no_grad()
    def _pack(self, layer: PackedLinear, name: str, tensor: Tensor, dtype: torch.dtype) -> Packed:
        space = None if self.vector is None else self._space_for(tensor)
        weight = self.patched(name, tensor, dtype, out=space)
        packed = pack_weight(weight, layer.grid, overwrite=space is not None)
        self._release(tensor)
        return packed

    def _space_for(self, tensor: Tensor) -> Tensor:
        """This thread's buffer for one patched weight; allocating one for each weight would cost page faults."""
        space = getattr(self._local, "space", None)
        if space is None or space.device != tensor.device or space.numel() < tensor.numel():
            space = self._local.space = torch.empty(tensor.numel(), device=tensor.device)
        return space[: tensor.numel()].view(tensor.shape)
