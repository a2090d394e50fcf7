"""Where cells become rows: what several of them need is opened once, then treated and counted in memory."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from typing import Any

import torch

from ..apply.choose_scale import choose_scale
from ..evaluation.runner import device_name
from ..proxies.model_inputs import enough_images, proxy_pixels
from ..results.counts import EvalResult, library_versions
from ..results.row import Row
from ..rounding.round_model import ROUNDINGS, round_linears_
from .baselines.calibrate import calibrate_
from .cells import Cell
from .model_store import Library, receiver_name
from .receiver import Receiver, Seat, Vector, hash_of
from .suite import CALIBRATED, PROXIED, Suite
from .vector_cache import Donors

__all__ = ["Workbench"]

KEPT = 8  # costly treatments of a receiver that are kept, for scale policies that come to the same
BATCH = 250  # images in a forward pass: it can decide between logits that are equal but for rounding


class Workbench:
    """Counts the cells of a suite, the models and vectors of which lie in a library."""

    def __init__(self, suite: Suite, library: Library, device: torch.device) -> None:
        self.suite, self.library, self.device = suite, library, device
        self.donors = Donors(library)
        self.versions = library_versions()
        self._at: tuple[str, int, str] | None = None
        self._seat: Seat | None = None
        self._hash = cache(hash_of)

    def count(self, cell: Cell) -> Row:
        """The cell's row.

        Raises:
            QVecError: a model, vector or dataset that is not there, does not fit or cannot be read.
        """
        seat = self._seat_of(cell)
        treated, scale = self._treat(cell, seat)
        images = seat.images("test")
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
            receiver=receiver_name(cell.base, cell.receiver),
            receiver_revision=self._hash(seat.receiver.folder),
            dataset=task.dataset,
            dataset_revision=seat.dataset_revision,
            method=cell.method,
            grid=cell.grid,
            seed=cell.seed,
            donors=self.donors.used(cell),
            merge=cell.merge,
            scale=scale,
            scale_policy=cell.scale if isinstance(cell.scale, str) else None,
            control=cell.control,
        )

    def _seat_of(self, cell: Cell) -> Seat:
        """The receiver of a cell and its images; cells come sorted by receiver, so one is open at a time."""
        at = (cell.base, cell.seed, cell.receiver)
        if self._seat is None or self._at != at:
            self._seat = None  # the old one's memory goes before the new one's comes
            spec = self.suite.task(cell.receiver)
            self._seat = Seat(self.library.fp(*at), spec, self.suite.images, self.device, BATCH)
            self._at = at
        return self._seat

    def _treat(self, cell: Cell, seat: Seat) -> tuple[Receiver, float | None]:
        """The model to count, and the scale it was patched with."""
        receiver, grid = seat.receiver, cell.grid
        if cell.donors:
            return receiver, self._patch(cell, seat)
        if cell.method == "own_qat":
            assert grid is not None
            twin = Receiver(self.library.qat(cell.base, cell.seed, cell.receiver, grid), self.device, BATCH)
            twin.treat(grid=grid)
            return twin, None
        if cell.method in CALIBRATED:
            assert grid is not None
            receiver.treat()
            if cell.method in ROUNDINGS and cell.method != "gptq":  # that one as its authors have it
                round_linears_(receiver.model, grid, cell.method, seat.calibration)
            else:
                calibrate_(receiver.model, seat.calibration, grid, cell.method)
        else:
            self._round(cell, seat)
        return receiver, None

    def _patch(self, cell: Cell, seat: Seat) -> float:
        """Add a cell's vector to the receiver and round it; the scale that its policy came to."""
        assert cell.grid is not None
        vector = self.donors.vector(cell)
        seat.admit(vector)
        tensors = self.donors.tensors(vector)
        if cell.scale == "validation":
            scales, images = self.suite.validation_scales, seat.images("validation")
            scale = seat.receiver.best_scale(tensors, cell.grid, scales, images)
        elif cell.scale == "auto":
            seat.receiver.treat()
            rounding = PROXIED.get(cell.method, "nearest")
            scale = choose_scale(seat.receiver.model, vector, cell.grid, rounding=rounding).scale
        else:
            named = {"unit": 1.0, "recommended": vector.config.scale}
            scale = named[cell.scale] if isinstance(cell.scale, str) else float(cell.scale or 0.0)
        shipped = vector.images(enough_images(seat.receiver.model))
        self._round(cell, seat, tensors, scale, shipped=shipped)
        return scale

    def _round(
        self, cell: Cell, seat: Seat, tensors: Vector | None = None, scale: float = 0.0, *, shipped: Any = None
    ) -> None:
        """Patch the receiver and round it to a cell's grid, as its method says."""
        rounding, receiver = PROXIED.get(cell.method), seat.receiver
        if rounding is None or cell.grid is None:
            receiver.treat(tensors, scale, cell.grid)
            return
        treatment = replace(cell, scale=scale)  # whatever policy came to this scale
        if treatment not in seat.rounded:
            receiver.treat(tensors, scale)
            round_linears_(receiver.model, cell.grid, rounding, proxy_pixels(receiver.model, shipped=shipped))
            if len(seat.rounded) < KEPT:
                seat.rounded[treatment] = receiver.held()
        else:
            receiver.hold(seat.rounded[treatment])
