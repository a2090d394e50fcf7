"""A whole float receiver made ready for packing: scale chosen, vector added, codes found.

What cannot be done tensor by tensor while a checkpoint arrives, because a layer's codes depend on what flows into it.
"""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from torch import Tensor
from transformers import PreTrainedModel

from ..backbone.conditions import on_copies, usual_settings
from ..backbone.names import backbone_linears
from ..grid.grid import Grid
from ..grid.quantize import Quantized, quantize
from ..grid.trellis import FANS
from ..proxies.model_inputs import proxy_pixels
from ..rounding.registry import PLAIN, ROUNDINGS
from ..rounding.round_model import amount_of_work, round_linears_
from ..util.progress import Stages, stages
from ..vector.vector import QuantizationVector
from .choose_scale import ScaleChoice, best_among, scales_to_try, shipped_images
from .own_images import checked_images, images_for
from .patch import add_vector_, refuse_unsuitable, resolve_scale

__all__ = ["Treatment", "codes_of", "prepare_"]

BEST = "fitted"  # rounding by default, where plain rounding loses much
FEW_BITS = 3


@dataclass(frozen=True)
class Treatment:
    """How a receiver is patched and rounded.

    Attributes:
        scale: a number, ``"recommended"`` (the value in the vector's config), ``"auto"`` (see `choose_scale`), or
            None: auto where the rounding uses images, else recommended.
        rounding: a registered method, see `round_linears_`, or None: `BEST` where the scale is open or ``"auto"`` and
            the grid has at most `FEW_BITS` bits, else nearest.
        images: pixel values ``(n, channels, height, width)`` to find codes and scale with; None takes proxy images.

    Raises:
        QVecError: when the rounding does not exist, or the images are not finite pixel values of that shape.
    """

    scale: float | str | None = None
    rounding: str | None = None
    images: Tensor | None = None

    def __post_init__(self) -> None:
        if self.rounding is not None:
            ROUNDINGS.get(self.rounding)
        if self.images is not None:
            object.__setattr__(self, "images", checked_images(self.images))

    def resolved(self, vector: QuantizationVector | None, grid: Grid) -> Treatment:
        """Replace what is None by the defaults for a vector and a grid; the scale is then a number or ``"auto"``.

        Warns of images that nothing is found with.

        Raises:
            QVecError: when the scale is neither a finite number, ``"recommended"`` nor ``"auto"``.
        """
        scale, open_scale = self.scale, self.scale is None or self.scale == "auto"
        rounding = self.rounding or (BEST if open_scale and grid.bits <= FEW_BITS else PLAIN)
        if scale is None:
            scale = "auto" if ROUNDINGS.get(rounding).needs_images else "recommended"
        if vector is None:
            scale = 1.0
        elif scale != "auto":
            scale = resolve_scale(scale, vector)
        resolved = replace(self, scale=scale, rounding=rounding)
        if self.images is not None and not resolved.needs_images:
            warnings.warn(
                f"images: expected a scale or codes to find with them, found rounding {rounding!r} to {grid} at a "
                f"given scale; they are not used. Pass rounding={BEST!r}, or with a vector scale='auto'",
                stacklevel=2,
            )
        return resolved

    def grid_of_width(self, grid: Grid, vector: QuantizationVector | None) -> Grid:
        """The grid of a resolved treatment where only a width is asked for.

        Rounding with images takes a trellis, where there is none an affine grid. A vector that is added at a given
        scale, or rounded to nearest, keeps the grid it was trained on, if that has the width.
        """
        with_images, trellis = ROUNDINGS.get(self.rounding).needs_images, grid.fan in FANS
        trained = None if vector is None or vector.config.grid.bits != grid.bits else vector.config.grid
        if trained is not None and not (with_images and trellis and self.scale == "auto"):
            return trained
        if not with_images:
            return grid
        return replace(grid, range="trellis") if trellis else replace(grid, range="mse", symmetric=False)

    @property
    def needs_images(self) -> bool:
        """Whether the whole model must be run on images to find scale or codes."""
        return self.scale == "auto" or ROUNDINGS.get(self.rounding).needs_images


def prepare_(
    model: PreTrainedModel,
    vector: QuantizationVector | None,
    grid: Grid,
    treatment: Treatment,
    *,
    check_lineage: bool = True,
    progress: Stages | None = None,
) -> tuple[dict[str, Quantized], ScaleChoice | None, float]:
    """Patch a float receiver in place and find its codes; its linear weights hold anything afterwards.

    Args:
        model: its tensors lie in memory of their own, see `settle_`.
        treatment: from `Treatment.resolved`.
        check_lineage: refuse a receiver that does not descend from the vector's base.
        progress: see `QVecConfig`.

    Returns:
        Codes by the names of linear layers; the `ScaleChoice`, None if the scale was given; the scale.

    Raises:
        QVecError: as `patch_`, `choose_scale` and `round_linears_`; the model may be changed by then.
    """
    scale, rounding, images = treatment.scale, treatment.rounding, treatment.images
    assert scale is not None
    assert rounding is not None
    choice = shipped = None
    if vector is not None:
        refuse_unsuitable(vector, model, check_lineage)
        shipped = shipped_images(vector, model, images)
        if scale == "auto":
            tried, shown = scales_to_try(rounding), {"images": images, "shipped": shipped}
            with _shown(progress) as show:
                choice = best_among(tried, model, vector, grid, rounding, show, **shown)
            scale = choice.scale
        add_vector_(model, vector, float(scale))
    codes = codes_of(model, grid, rounding, images, progress, shipped=shipped, keep_weights=False)
    return codes, choice, float(scale)


@usual_settings()
def codes_of(
    model: PreTrainedModel,
    grid: Grid,
    rounding: str,
    images: Tensor | None = None,
    progress: Stages | None = None,
    *,
    shipped: Tensor | None = None,
    keep_weights: bool = True,
) -> dict[str, Quantized]:
    """Find codes and scales of a float model's linear layers; the model is unchanged afterwards.

    Args:
        rounding: a registered method, see `round_linears_`.
        images: pixel values of the caller ``(n, channels, height, width)``; None takes proxy images.
        shipped: images that come with vectors, see `proxy_pixels`.
        progress: see `QVecConfig`.
        keep_weights: if False, the linear weights hold anything afterwards, and no copy of them is made; they must be
            as `settle_` makes them.

    Returns:
        Codes and scales by the layers' names.

    Raises:
        GridError, QVecError: as `round_linears_`.
    """
    if not ROUNDINGS.get(rounding).needs_images:
        return {name: quantize(layer.weight.detach(), grid) for name, layer in backbone_linears(model)}
    pixels = proxy_pixels(model, shipped=shipped) if images is None else images_for(model, images)
    dropped = [] if keep_weights else [layer.weight for _, layer in backbone_linears(model)]
    with on_copies(model, dropped), _shown(progress) as show:
        done, total = 0, amount_of_work(model, rounding)

        def step(more: int) -> None:
            nonlocal done
            done += more
            show("rounding", done, total)

        return round_linears_(model, grid, rounding, pixels, progress=step)


def _shown(progress: Stages | None) -> AbstractContextManager[Stages]:
    """The caller's progress function, or progress bars if there is a terminal."""
    return stages() if progress is None else nullcontext(progress)
