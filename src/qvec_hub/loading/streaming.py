"""Load streaming: patch, round and pack each arriving weight on worker threads.

A float weight is held only while it is packed, and its mapped pages are released at once, so that a load never holds a
whole float model.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..apply.patch import add_scaled, refuse_other_base
from ..artifact.lineage import probe
from ..layers.packed_linear import PackedLinear
from ..layers.packed_weight import Packed, pack_weight
from ..util.page_release import PageRelease
from ..util.threads import Workers
from ..vector.vector import QuantizationVector
from .load import Outcome

__all__ = ["WeightStream"]


class WeightStream:
    """A `Load` that packs weights on worker threads as they arrive; `finish` waits for them.

    Each weight is packed by one thread: these operations are too short for PyTorch's own threads to help.

    Args:
        vector, scale: added before packing; a vector of None adds nothing.
        canonical: run-time name -> canonical name of the tensors that the vector changes.
        check_lineage: refuse a receiver that does not descend from the vector's base.
        files: files that only this load has open. Their mapped pages are released after reading; memory of any other
            origin is left alone, because other code may use it.
    """

    WORKERS = 2
    AHEAD = 2  # weights that may wait for a worker; each is a float tensor, on a GPU too

    def __init__(
        self,
        vector: QuantizationVector | None,
        scale: float,
        canonical: Mapping[str, str],
        check_lineage: bool,
        files: Iterable[str | Path] = (),
    ) -> None:
        self.vector, self.scale, self.canonical, self.check_lineage = vector, scale, canonical, check_lineage
        self._probes: dict[str, Tensor] = {}  # canonical name -> the receiver's weights at the fingerprint's positions
        self._workers: Workers[Packed] = Workers(self.WORKERS, "qvec")
        self._waiting: deque[tuple[PackedLinear, Future[Packed]]] = deque()
        self._local = threading.local()
        self._release = PageRelease(files)

    def receive(self, name: str, tensor: Tensor, layer: PackedLinear | None, dtype: torch.dtype) -> dict[str, Tensor]:
        canonical = self.canonical.get(name, name)
        if layer is None:
            return {name: self._patched(canonical, tensor, dtype)}
        while len(self._waiting) >= self.WORKERS + self.AHEAD:
            self._attach()
        self._waiting.append((layer, self._workers.submit(self._pack, layer, canonical, tensor, dtype)))
        return {}

    def finish(self, model: PreTrainedModel) -> Outcome:
        while self._waiting:
            self._attach()
        self.close()
        if self.vector is not None and self.check_lineage:
            refuse_other_base(self.vector, self._probes)
        return Outcome(self.scale)

    def close(self) -> None:
        self._workers.close()

    def _patched(self, name: str, tensor: Tensor, dtype: torch.dtype, out: Tensor | None = None) -> Tensor:
        """A tensor (canonical `name`) with the vector added, computed in this thread."""
        if self.vector is None:
            return tensor
        delta = self.vector[name]
        result = add_scaled(tensor, delta, self.scale, out).to(dtype)
        if self.vector.lineage and name in self.vector.lineage:
            self._probes[name] = probe(name, tensor)
        self._release(delta)
        return result

    def _attach(self) -> None:
        layer, packed = self._waiting.popleft()
        layer.hold(packed.result())  # in the caller's thread: no other thread changes modules

    @torch.no_grad()
    def _pack(self, layer: PackedLinear, name: str, tensor: Tensor, dtype: torch.dtype) -> Packed:
        space = None if self.vector is None else self._space_for(tensor)
        weight = self._patched(name, tensor, dtype, out=space)
        packed = pack_weight(weight, layer.grid, overwrite=space is not None)
        self._release(tensor)
        return packed

    def _space_for(self, tensor: Tensor) -> Tensor:
        """This thread's buffer for one patched weight; allocating one for each weight would cost page faults."""
        space = getattr(self._local, "space", None)
        if space is None or space.device != tensor.device or space.numel() < tensor.numel():
            space = self._local.space = torch.empty(tensor.numel(), device=tensor.device)
        return space[: tensor.numel()].view(tensor.shape)
