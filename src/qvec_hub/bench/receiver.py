"""A receiver of the benchmark: one float model that is patched, rounded and counted many times."""

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
from ..backbone.processor import load_processor
from ..data.hub_dataset import dataset_revision
from ..evaluation.images import PreprocessedImages, preprocess
from ..evaluation.runner import count_correct
from ..grid.grid import Grid
from ..grid.quantize import fake_quantize_all
from ..vector.vector import QuantizationVector
from .splits import load_task_split
from .suite import Images, TaskSpec

__all__ = ["LoadedReceiver", "Receiver", "hash_of"]

Vector = Mapping[str, Tensor]  # canonical name -> difference, in float32


class Receiver:
    """A fine-tuned classifier that keeps a copy of its trained weights, from which each treatment starts.

    Rounded weights are held as float values of the grid; they give the same logits as packed layers, bit for bit.

    Args:
        folder: the model and its image processor.
        device: device to count on.
        batch_size: images in a forward pass.

    Raises:
        ArtifactError: when the folder holds no complete model.
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
        """Raise MisfitError or LineageError unless the vector fits and comes from this receiver's base."""
        refuse_unsuitable(vector, self.model)

    @torch.no_grad()
    def treat(self, vector: Vector | None = None, scale: float = 0.0, grid: Grid | None = None) -> None:
        """Set the weights to ``θ_R + λ·ρ``, linear ones rounded to nearest on the grid; by default to ``θ_R``."""
        for name, tensor in self.live.items():
            value = self.trained[name]
            tensor.copy_(value if vector is None else add_scaled(value, vector[name], scale))
        if grid is not None:
            linears = {name: tensor for name, tensor in self.live.items() if name in self.rounded}
            for name, rounded in fake_quantize_all(linears, grid):
                linears[name].copy_(rounded)

    def held(self) -> Vector:
        """Copy the backbone's current weights."""
        return {name: tensor.clone() for name, tensor in self.live.items()}

    @torch.no_grad()
    def hold(self, tensors: Vector) -> None:
        """Set the backbone's weights to those that `held` returned."""
        for name, tensor in self.live.items():
            tensor.copy_(tensors[name])

    def correct(self, images: PreprocessedImages) -> int:
        """Count the images that the model in its current state predicts right."""
        return count_correct(self.model, images, self.batch_size)

    def best_scale(self, vector: Vector, grid: Grid, scales: tuple[float, ...], images: PreprocessedImages) -> float:
        """Find the scale with the most right predictions; the smallest of equals."""

        def correct(scale: float) -> int:
            self.treat(vector, scale, grid)
            return self.correct(images)

        return max(sorted(scales), key=correct)


class LoadedReceiver:
    """A receiver in memory, with the preprocessed splits of its task and the vectors that were checked for it.

    Args:
        folder: the receiver's model and image processor.
        spec: the receiver's task.
        images: number of images to use from each split.
        device: device to count on.
        batch_size: images in a forward pass.
    """

    def __init__(self, folder: Path, spec: TaskSpec, images: Images, device: torch.device, batch_size: int) -> None:
        self.spec, self.limits = spec, images
        self.receiver = Receiver(folder, device, batch_size)
        self.dataset_revision: str | None = None
        self._splits: dict[str, PreprocessedImages] = {}
        self._admitted: set[QuantizationVector] = set()

    @cached_property
    def processor(self) -> object:
        """The image processor that lies in the receiver's folder."""
        return load_processor(self.receiver.folder)

    def images(self, split: str) -> PreprocessedImages:
        """The images of a split (``train``, ``validation`` or ``test``), decoded and preprocessed at its first use.

        Raises:
            DataError: when the dataset cannot be read or lacks the split.
        """
        if split not in self._splits:
            dataset = load_task_split(self.spec, split, self.limits)
            self.dataset_revision = dataset_revision(dataset)
            self._splits[split] = preprocess(dataset, self.processor)
        return self._splits[split]

    @cached_property
    def calibration(self) -> torch.Tensor:
        """Training images of the receiver's own task, for methods that need them: ``(n, channels, height, width)``."""
        dataset = load_task_split(self.spec, "train", self.limits)
        return preprocess(dataset, self.processor, limit=self.limits.calibration).pixel_values

    def admit(self, vector: QuantizationVector) -> None:
        """Check once that a vector fits the receiver and comes from its base.

        Raises:
            MisfitError, LineageError: when it does not.
        """
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
