"""The registry of roundings: what finds the codes of a model's linear layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from transformers import PreTrainedModel

from ..artifact.model_record import ROUNDED
from ..grid.grid import Grid
from ..grid.quantize import Quantized
from ..util.registry import Registry

__all__ = ["PLAIN", "ROUNDINGS", "FindCodes", "Rounding", "rounding"]

PLAIN = "nearest"


class FindCodes(Protocol):
    """Round all linear weights of a float model's backbone; the model then computes with the rounded weights.

    Called with the model, the grid, pixel values ``(images, channels, height, width)``, how many images go through a
    block at a time, and a function to call with the number of parts of the work that are done. Returns codes and
    scales by the layers' names.
    """

    def __call__(
        self,
        model: PreTrainedModel,
        grid: Grid,
        pixel_values: Tensor,
        *,
        batch_size: int,
        progress: Callable[[int], None],
    ) -> dict[str, Quantized]: ...


@dataclass(frozen=True)
class Rounding:
    """One way to find codes, and what others need to know of it.

    Attributes:
        about: one line, for ``--help`` and documentation.
        on_card: how a model card says it, after "rounded".
        extra_parts: parts of its work beside one for each linear layer, as `find` reports progress.
        scales: the scales that ``scale="auto"`` compares.
        clear_gain: the share of plain quantization's divergence that a scale must remove before it is preferred to 0;
            what a vector removes less of may be the luck of the rounding.
        trial: the rounding that scales are compared under; None is this one.
    """

    name: str
    about: str
    find: FindCodes
    on_card: str
    extra_parts: Callable[[], int] = lambda: 0
    scales: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)  # fewer than under plain rounding: a part is repaired already
    clear_gain: float = 0.1
    trial: str | None = None

    @property
    def needs_images(self) -> bool:
        """Whether images are shown to the whole model; plain rounding packs weight by weight while a model loads."""
        return self.name != PLAIN


ROUNDINGS: Registry[Rounding] = Registry("rounding")


def rounding(
    name: str,
    about: str,
    *,
    on_card: str,
    extra_parts: Callable[[], int] = lambda: 0,
    scales: tuple[float, ...] = Rounding.scales,
    clear_gain: float = Rounding.clear_gain,
    trial: str | None = None,
) -> Callable[[FindCodes], FindCodes]:
    """Register the decorated function; see `Rounding` for the arguments."""

    def enter(find: FindCodes) -> FindCodes:
        ROUNDED[name] = on_card
        ROUNDINGS.add(
            Rounding(
                name,
                about,
                find,
                on_card=on_card,
                extra_parts=extra_parts,
                scales=scales,
                clear_gain=clear_gain,
                trial=trial,
            )
        )
        return find

    return enter
