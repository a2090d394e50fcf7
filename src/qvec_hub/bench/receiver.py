"""A receiver on the bench: one float model that is patched, rounded and counted again and again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..apply.patch import add_scaled, refuse_unsuitable
from ..backbone.checkpoint import load_classifier
from ..backbone.conditions import settle_
from ..backbone.names import backbone_linears, backbone_tensors, canonical_names
from ..data.sources import dataset_revision
from ..evaluation.images import PreprocessedImages, load_processor, preprocess
from ..evaluation.runner import count_correct
from ..grid.grid import Grid
from ..grid.quantize import fake_quantize_all
from ..vector.vector import QuantizationVector
from .cells import Cell
from .splits import load_task_split
from .suite import Images, TaskSpec

__all__ = ["Receiver", "Seat", "hash_of"]

Vector = Mapping[str, Tensor]  # canonical name -> difference, in float32


class Receiver:
    """A fine-tuned classifier whose trained weights are kept aside, so that each treatment starts from them.

    Rounded weights are held as floats of the grid, which predicts to the bit what packed layers do.

    Args:
        folder: the model, with its image processor.
        device: where to count.

    Raises:
        ArtifactError: no complete model there.
    """

    def __init__(self, folder: Path, device: torch.device, batch_size: int) -> None:
        self.folder, self.batch_size = folder, batch_size
        self.model: PreTrainedModel = load_classifier(folder).eval()
        torch.nn.Module.to(self.model, device)
        settle_(self.model)  # or its codes would not be those that `from_pretrained` finds
        self.model.requires_grad_(False)
        self.live = backbone_tensors(self.model)
        self.trained = {name: tensor.clone() for name, tensor in self.live.items()}
        names = canonical_names(self.model)
        self.rounded = {names[f"{name}.weight"] for name, _ in backbone_linears(self.model)}

    def refuse_unsuitable(self, vector: QuantizationVector) -> None:
        """Raise unless the vector fits and comes from this receiver's base (see `patch.refuse_unsuitable`)."""
        refuse_unsuitable(vector, self.model)

    @torch.no_grad()
    def treat(self, vector: Vector | None = None, scale: float = 0.0, grid: Grid | None = None) -> None:
        """Hold ``θ_R + λ·ρ``, its linear weights rounded to nearest on the grid; without arguments ``θ_R``."""
        values = self.trained
        if vector is not None:
            values = {name: add_scaled(value, vector[name], scale) for name, value in values.items()}
        if grid is not None:
            linears = {name: value for name, value in values.items() if name in self.rounded}
            values = values | fake_quantize_all(linears, grid)
        for name, tensor in self.live.items():
            tensor.copy_(values[name])

    def held(self) -> Vector:
        """A copy of the backbone as it now is."""
        return {name: tensor.clone() for name, tensor in self.live.items()}

    @torch.no_grad()
    def hold(self, tensors: Vector) -> None:
        """Have the backbone hold what `held` once returned."""
        for name, tensor in self.live.items():
            tensor.copy_(tensors[name])

    def correct(self, images: PreprocessedImages) -> int:
        """How many images the model as it now is gets right."""
        return count_correct(self.model, images, self.batch_size)

    def best_scale(self, vector: Vector, grid: Grid, scales: tuple[float, ...], images: PreprocessedImages) -> float:
        """The scale with the most right predictions, the smallest of several."""

        def correct(scale: float) -> int:
            self.treat(vector, scale, grid)
            return self.correct(images)

        return max(sorted(scales), key=correct)


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
