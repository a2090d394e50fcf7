"""Count cells: open a receiver once, then treat and count it in memory for each of its cells."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from ..apply.choose_scale import choose_scale
from ..evaluation.models import device_name
from ..proxies.model_inputs import enough_images, proxy_pixels
from ..results.counts import EvalResult, library_versions
from ..results.row import Row
from ..rounding.round_model import round_linears_
from .baselines.calibrate import calibrate_
from .baselines.registry import BASELINES
from .cells import Cell
from .methods import calibrated, proxied
from .model_store import Library, receiver_name
from .receiver import LoadedReceiver, Receiver, Vector, hash_of
from .suite import Suite
from .vector_cache import Donors

__all__ = ["Workbench"]

KEPT = 6  # rounded backbones to keep: probes share one backbone, and scale policies can agree
BATCH = 250  # images in a forward pass: changing it can change the prediction between nearly equal logits


class Workbench:
    """Counts the cells of a suite with the models and vectors of a library."""

    def __init__(self, suite: Suite, library: Library, device: torch.device) -> None:
        self.suite, self.library, self.device = suite, library, device
        self.donors = Donors(library)
        self.versions = library_versions()
        self._at: tuple[str, int, str, str] | None = None
        self._loaded: LoadedReceiver | None = None
        self._rounded: OrderedDict[str, Vector] = OrderedDict()  # by what they were rounded from, the oldest first
        self._hash = cache(hash_of)

    def count(self, cell: Cell) -> Row:
        """Count a cell and return its row.

        Raises:
            QVecError: when a model, vector or dataset is missing, does not fit or cannot be read.
        """
        loaded = self._load(cell)
        treated, scale = self._treat(cell, loaded)
        images = loaded.images("test")
        start = time.perf_counter()
        correct = treated.correct(images)
        wall_s = time.perf_counter() - start
        task = self.suite.task(cell.receiver)
        return Row.of(
            EvalResult(
                n=len(images),
                correct=correct,
                correct_top5=None,
                agreed=None,
                split=task.test_split,
                wall_s=wall_s,
                image_backend=images.image_backend,
                device=device_name(self.device),
                versions=self.versions,
            ),
            suite=self.suite.name,
            suite_version=self.suite.version,
            receiver=receiver_name(cell.base, cell.receiver, cell.kind),
            receiver_revision=self._hash(loaded.receiver.folder),
            dataset=task.dataset,
            dataset_revision=loaded.dataset_revision,
            method=cell.method,
            grid=cell.grid,
            seed=cell.seed,
            donors=self.donors.used(cell),
            merge=cell.merge,
            scale=scale,
            scale_policy=cell.scale if isinstance(cell.scale, str) else None,
            control=cell.control,
        )

    def _load(self, cell: Cell) -> LoadedReceiver:
        """The receiver of a cell and its images; cells come sorted by receiver, so one is open at a time."""
        if self._loaded is None or self._at != cell.place:
            self._loaded = None  # free the old receiver's memory before loading the next
            spec = self.suite.task(cell.receiver)
            self._loaded = LoadedReceiver(
                self.library.receiver(*cell.place), spec, self.suite.images, self.device, BATCH
            )
            self._at = cell.place
        return self._loaded

    def _treat(self, cell: Cell, loaded: LoadedReceiver) -> tuple[Receiver, float | None]:
        """Treat the receiver as the cell says; return the model to count and the scale it was patched with."""
        receiver, grid = loaded.receiver, cell.grid
        if cell.donors:
            return receiver, self._patch(cell, loaded)
        if cell.method == "own_qat":
            assert grid is not None
            twin = Receiver(self.library.qat(cell.base, cell.seed, cell.receiver, grid), self.device, BATCH)
            twin.treat(grid=grid)
            return twin, None
        if cell.method in calibrated():
            assert grid is not None
            receiver.treat()
            if cell.method in BASELINES:  # a baseline wins over a rounding of the same name
                calibrate_(receiver.model, loaded.calibration, grid, cell.method)
            else:
                round_linears_(receiver.model, grid, cell.method, loaded.calibration)
        else:
            self._round(cell, loaded)
        return receiver, None

    def _patch(self, cell: Cell, loaded: LoadedReceiver) -> float:
        """Add a cell's vector to the receiver and round it; return the scale that was used."""
        assert cell.grid is not None
        vector = self.donors.vector(cell)
        loaded.admit(vector)
        tensors = self.donors.tensors(vector)
        if cell.scale == "validation":
            scales, images = self.suite.validation_scales, loaded.images("validation")
            scale = loaded.receiver.best_scale(tensors, cell.grid, scales, images)
        elif cell.scale == "auto":
            loaded.receiver.treat()
            rounding = proxied(cell.method) or "nearest"
            scale = choose_scale(loaded.receiver.model, vector, cell.grid, rounding=rounding).scale
        else:
            named = {"unit": 1.0, "recommended": vector.config.scale}
            scale = named[cell.scale] if isinstance(cell.scale, str) else float(cell.scale or 0.0)
        shipped = vector.images(enough_images(loaded.receiver.model))
        self._round(cell, loaded, tensors, scale, shipped=shipped)
        return scale

    def _round(
        self,
        cell: Cell,
        loaded: LoadedReceiver,
        tensors: Vector | None = None,
        scale: float = 0.0,
        *,
        shipped: Any = None,
    ) -> None:
        """Patch the receiver and round it to the cell's grid with the cell's method."""
        rounding, receiver = proxied(cell.method), loaded.receiver
        if rounding is None or cell.grid is None:
            receiver.treat(tensors, scale, cell.grid)
            return
        receiver.treat(tensors, scale)
        pixels = proxy_pixels(receiver.model, shipped=shipped)
        origin = f"{rounding} {cell.grid.name} {_digest([*receiver.live.values(), pixels])}"
        if origin in self._rounded:
            self._rounded.move_to_end(origin)
            receiver.hold(self._rounded[origin])
            return
        round_linears_(receiver.model, cell.grid, rounding, pixels)
        self._rounded[origin] = receiver.held()
        if len(self._rounded) > KEPT:
            self._rounded.popitem(last=False)


def _digest(tensors: Iterable[Tensor]) -> str:
    """One hash of several tensors' bytes."""
    digest = sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
