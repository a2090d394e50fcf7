"""The registry of controls, and what all of them are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ...artifact.config import Donor
from ...artifact.folder import Computed
from ...util.registry import Registry
from ...vector.vector import QuantizationVector

__all__ = ["CONTROLS", "Control", "DonorModels", "control", "control_vector", "random_stream"]

DonorModels = Callable[[], tuple[Path, str | Path]]  # where the donor's plain fine-tune and its base are


class MakeControl(Protocol):
    """A control in a vector's place; `models` is called where the donor's own models are needed."""

    def __call__(self, vector: QuantizationVector, seed: int, models: DonorModels) -> QuantizationVector: ...


@dataclass(frozen=True)
class Control:
    """A way to make a vector that should not help.

    Attributes:
        label: as an adjective in tables, such as ``"random"``.
        single_donor: whether it is made of one donor's models, so that merged vectors have none.
    """

    name: str
    about: str
    label: str
    make: MakeControl
    single_donor: bool = False


CONTROLS: Registry[Control] = Registry("control")


def control(name: str, about: str, *, label: str, single_donor: bool = False) -> Callable[[MakeControl], MakeControl]:
    """Register the decorated function; see `Control` for the arguments."""

    def enter(make: MakeControl) -> MakeControl:
        CONTROLS.add(Control(name, about, label, make, single_donor))
        return make

    return enter


def control_vector(vector: QuantizationVector, task: str, tensor: Callable[[str], Tensor]) -> QuantizationVector:
    """A vector like another one, with other tensors, computed when they are asked for."""
    config = replace(vector.config, donor=Donor(task=task), tensors=None, sources=[])
    return QuantizationVector(config, Computed(vector.shapes(), tensor), vector.lineage, images=vector.images)


def random_stream(seed: int, name: str) -> torch.Generator:
    """A random stream of its own for each tensor, whatever the order they are asked for."""
    start = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "little") >> 1
    return torch.Generator().manual_seed(start)
