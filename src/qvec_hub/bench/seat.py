"""A receiver's place on the bench: its model and its images, each opened once."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import torch

from ..data import dataset_revision
from ..evaluation import PreprocessedImages, load_processor, preprocess
from ..vector import QuantizationVector
from .cells import Cell
from .receiver import Receiver, Vector
from .suite import Images, TaskSpec
from .tasks import load_task_split

__all__ = ["Seat", "hash_of"]


class Seat:
    """A receiver, the splits of its task as its own processor makes them, and which vectors it may take.

    Args:
        folder: the receiver.
        images: how many of them are used.
        device: where models are counted. batch_size: images in a forward pass.
    """

    def __init__(self, folder: Path, spec: TaskSpec, images: Images, device: torch.device, batch_size: int) -> None:
        self.spec, self.limits = spec, images
        self.receiver = Receiver(folder, device, batch_size)
        self.dataset_revision: str | None = None
        self.rounded: dict[Cell, Vector] = {}  # what costly treatments came to
        self._splits: dict[str, PreprocessedImages] = {}
        self._admitted: set[QuantizationVector] = set()

    @cached_property
    def processor(self) -> object:
        return load_processor(None, self.receiver.folder)

    def images(self, split: str) -> PreprocessedImages:
        """A split, decoded and preprocessed at its first use."""
        if split not in self._splits:
            dataset = load_task_split(self.spec, split, self.limits)
            self.dataset_revision = dataset_revision(dataset)
            self._splits[split] = preprocess(dataset, self.processor)
        return self._splits[split]

    @cached_property
    def calibration(self) -> torch.Tensor:
        """Pixel values of the receiver's own training images, for the methods that need such."""
        dataset = load_task_split(self.spec, "train", self.limits)
        return preprocess(dataset, self.processor, limit=self.limits.calibration).pixel_values

    def admit(self, vector: QuantizationVector) -> None:
        """Check once that a vector fits the receiver and comes from its base."""
        if vector not in self._admitted:
            self.receiver.refuse_unsuitable(vector)
            self._admitted.add(vector)


def hash_of(folder: Path) -> str:
    """``sha256:…`` of a local model's weights, which serves as its revision.

    Of a model in shards, of the index and all of them.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors*")):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"
