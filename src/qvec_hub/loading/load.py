"""What a load does with a checkpoint's tensors: as each arrives, and when all are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..layers.packed_linear import PackedLinear
from ..vector.vector import QuantizationVector

__all__ = ["Load", "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What a load found, for the model's ``config.json``; see `quantization_record` for the fields.

    Attributes:
        scale: the factor λ of the vector.
        scale_curve: (scale, divergence) pairs that it was chosen by; None if it was given.
        watched: which images codes and scale were found with; None for no images.
    """

    scale: float
    scale_curve: list[list[float]] | None = None
    watched: str | None = None


class Load(Protocol):
    """Patches, rounds and packs one model while transformers loads it: `WeightStream` or `DeferredLoad`."""

    vector: QuantizationVector | None

    def receive(self, name: str, tensor: Tensor, layer: PackedLinear | None, dtype: torch.dtype) -> dict[str, Tensor]:
        """Take a tensor of the checkpoint; return those that transformers must put into the model.

        Args:
            name: its run-time name.
            tensor: in the shape of the model's, float.
            layer: the layer that packs it, if it is the weight of one.
            dtype: of the model's own tensor.
        """

    def finish(self, model: PreTrainedModel) -> Outcome:
        """Complete the model, all of whose tensors were received.

        Raises:
            LineageError: when the receiver does not descend from the vector's base.
            QVecError: when a weight cannot be patched, rounded or packed.
        """

    def close(self) -> None:
        """End threads and drop what is held, whether or not the load was finished; may be called twice."""
