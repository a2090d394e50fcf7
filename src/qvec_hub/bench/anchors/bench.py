"""Count the cells of a suite of anchors: open a model once, then round and count it for each of its cells."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
from torch import Tensor

from ...backbone.processor import load_processor
from ...evaluation.images import preprocess
from ...evaluation.runner import evaluate
from ...proxies.model_inputs import enough_images, proxy_pixels
from ...results.row import PROXY, ImagesUse, Row
from ...rounding.registry import PLAIN
from ...rounding.round_model import amount_of_work, round_linears_
from ...util.progress import counting
from ..baselines.calibrate import calibrate_
from ..baselines.registry import BASELINES
from ..methods import proxied
from ..receiver import Receiver
from .classes import name_outputs_
from .images import AnchorData
from .models import AnchorModel
from .suite import AnchorCell, AnchorSuite

__all__ = ["BATCH", "AnchorBench", "decoders"]

BATCH = 100  # images in a forward pass: changing it can change the prediction between nearly equal logits
PROXY_SEED = 0  # what `from_pretrained` draws proxy images with
MOST_DECODERS = 16


class AnchorBench:
    """Counts cells with converted models and the suite's images.

    Args:
        models: by the suite's names.
        device: device to round and count on.
        show: show progress on stderr.
    """

    def __init__(
        self,
        suite: AnchorSuite,
        models: Mapping[str, AnchorModel],
        data: AnchorData,
        device: torch.device,
        show: bool = True,
    ) -> None:
        self.suite, self.models, self.data, self.device, self.show = suite, models, data, device, show
        self._open: tuple[str, Receiver] | None = None
        self._calibration: tuple[str, Tensor] | None = None

    def receiver(self, model: str) -> Receiver:
        """A model in memory with a copy of its trained weights; one is open at a time."""
        if self._open is None or self._open[0] != model:
            self._open = self._calibration = None  # free the other's memory first
            receiver = Receiver(self.models[model].folder, self.device, BATCH)
            name_outputs_(receiver.model.config, self.data.test)
            self._open = model, receiver
        return self._open[1]

    def calibration(self, model: str) -> Tensor:
        """The suite's calibration images as the model's processor makes them: ``(n, channels, height, width)``.

        Those of one model are kept at a time.
        """
        if self._calibration is None or self._calibration[0] != model:
            self._calibration = None  # free the other's memory first
            processor = load_processor(self.models[model].folder)
            self._calibration = model, preprocess(self.data.calibration, processor).pixel_values
        return self._calibration[1]

    def count(self, cell: AnchorCell) -> Row:
        """Count a cell and return its row.

        Raises:
            DataError: when images cannot be read, or have other classes than the model's head.
            QVecError: when the model cannot be read, or computes NaN.
        """
        receiver, spec = self.receiver(cell.model), self.suite.images
        used = self._round(cell, receiver)
        result = evaluate(
            receiver.model,
            self.data.test,
            processor=load_processor(receiver.folder),
            batch_size=BATCH,
            device=self.device,
            num_workers=decoders(self.device, len(self.data.test)),
            progress=self.show,
        )
        return Row.of(
            result,
            suite=self.suite.name,
            suite_version=self.suite.version,
            receiver=cell.model,
            receiver_revision=self.models[cell.model].revision,
            dataset=spec.dataset,
            dataset_revision=self.data.revision,
            method=cell.method,
            grid=cell.grid,
            seed=spec.seed,
            calibration=used,
        )

    def _round(self, cell: AnchorCell, receiver: Receiver) -> ImagesUse | None:
        """Round the receiver's trained weights as the cell says; return the images that were shown to it."""
        if cell.method in ("fp", "ptq"):
            receiver.treat(grid=cell.grid)
            return None
        assert cell.grid is not None
        receiver.treat()
        rounding, model = proxied(cell.method), receiver.model
        if rounding is not None:
            used = ImagesUse(PROXY, enough_images(model), PROXY_SEED)
            pixels = proxy_pixels(model)
        else:
            pixels = self.calibration(cell.model)
            used = ImagesUse(self.suite.images.train_split, len(pixels), self.suite.images.seed)
        baseline = rounding is None and cell.method in BASELINES  # a baseline wins over a rounding of the same name
        name = rounding or cell.method
        work = amount_of_work(model, PLAIN if baseline else name)
        with counting(f"rounding by {cell.method}", work, self.show) as advance:
            if baseline:
                calibrate_(model, pixels, cell.grid, cell.method, progress=advance)
            else:
                round_linears_(model, cell.grid, name, pixels, progress=advance)
        return used


def decoders(device: torch.device, images: int) -> int:
    """How many processes decode images: none for a model on the CPU, which is slower, nor for a few batches."""
    if device.type == "cpu" or images < 10 * BATCH:
        return 0
    return min(MOST_DECODERS, max(1, (os.cpu_count() or 1) - 1))
