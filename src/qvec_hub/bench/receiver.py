"""A receiver on the bench: one float model that is patched, rounded and counted again and again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..checkpoint import load_classifier
from ..conditions import settle_
from ..evaluation import PreprocessedImages, count_correct
from ..grids import Grid
from ..naming import backbone_linears, backbone_tensors, canonical_names
from ..patch import add_scaled, refuse_unsuitable
from ..together import fake_quantize_all
from ..vector import QuantizationVector

__all__ = ["Receiver"]

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
