"""Choose how much of a vector to add, and which vector, without the receiver's data.

The criterion is the mean KL divergence, on proxy images, between the class probabilities of the float receiver and
those of the patched and quantized one; `criterion.distance` defines it, also for other heads. It needs no labels and no
image of the receiver's task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..backbone.class_token import only_class_token
from ..backbone.conditions import on_copies, usual_settings
from ..backbone.forward import evaluating, show
from ..backbone.names import backbone_linears, backbone_tensors
from ..errors import QVecError
from ..grid.grid import Grid
from ..grid.quantize import fake_quantize_all
from ..proxies.model_inputs import enough_images, proxy_pixels
from ..rounding.registry import ROUNDINGS
from ..rounding.round_model import round_linears_
from ..util.progress import Stages
from ..util.scalars import number_in
from ..util.untrusted import printable
from ..vector.vector import QuantizationVector
from .criterion import distance, problem_of
from .own_images import images_for
from .patch import add_scaled, refuse_unsuitable

__all__ = [
    "ScaleChoice",
    "best_among",
    "best_scale",
    "choose_scale",
    "divergence_measure",
    "follow",
    "rank_donors",
    "scales_to_try",
    "shipped_images",
]

TRIAL = 4  # one in so many images is used to round the model for a trial
FIT_SEED, COMPARE_SEED = 0, 1  # proxy images to fit codes on, and to compare scales on
SEEDS = 2  # seeds that one choice takes, so that another `seed` draws other images
BATCH = 64


@dataclass(frozen=True)
class ScaleChoice:
    """A chosen scale and the divergences it was chosen by.

    Attributes:
        scale: the chosen factor λ of the vector; 0 means that no vector is added.
        curve: (scale, divergence) by ascending scale; scale 0 is plain quantization. Divergences are in nats for
            single-label heads, see `criterion.distance`.
        grid: the grid that the model was quantized to.
        rounding: the name of the rounding method.
    """

    scale: float
    curve: tuple[tuple[float, float], ...]
    grid: Grid
    rounding: str

    @property
    def divergence(self) -> float:
        """The divergence at the chosen scale."""
        return dict(self.curve)[self.scale]

    @property
    def share_removed(self) -> float:
        """Share of plain quantization's divergence that the vector removes, from 0 to 1."""
        plain = dict(self.curve)[0.0]
        return 1 - self.divergence / plain if plain else 0.0


def choose_scale(
    model: PreTrainedModel,
    vector: QuantizationVector,
    grid: Grid | str,
    *,
    rounding: str = "nearest",
    scales: Sequence[float] | None = None,
    images: Tensor | None = None,
    check_lineage: bool = True,
    progress: Stages | None = None,
    seed: int = 0,
) -> ScaleChoice:
    """Choose the scale at which the patched and quantized receiver diverges least from the float one.

    Scale 0, plain quantization, is always tried, and wins unless another scale removes at least the share `clear_gain`
    (set by the rounding) of its divergence. The cost is one forward pass over the images for the float model and one
    for each scale. A rounding that needs images also rounds the model for each scale, with its `trial` method on a
    quarter of the images; the best scale must then beat 0 again on other images.

    Args:
        model: a float classifier; it is unchanged afterwards.
        vector: made on the model's base.
        grid: a `Grid` or its name.
        rounding: a registered method, see `QVecConfig`.
        scales: the scales to try; by default those of the rounding, between 0 and 3.
        images: calibration images instead of proxy images: normalized pixel values, float ``(n, channels, height,
            width)``. With images of the receiver's task the choice is calibrated, not zero-shot.
        check_lineage: refuse a receiver that does not descend from the vector's base.
        progress: see `QVecConfig`.
        seed: seed of the proxy images, an integer of at least 0; compare several to see how much the draw matters.

    Raises:
        MisfitError, LineageError: when the vector does not fit the model, or was made on another base.
        QVecError: when a scale is not finite, the seed is negative, the rounding is unknown, or the model refuses the
            images or gives every image the same answer.
    """
    tried, grid = scales_to_try(rounding, scales), Grid.parse(grid)
    refuse_unsuitable(vector, model, check_lineage)
    shipped = shipped_images(vector, model, images)
    return best_among(tried, model, vector, grid, rounding, progress, images=images, shipped=shipped, seed=seed)


def best_among(
    scales: Sequence[float],
    model: PreTrainedModel,
    vector: QuantizationVector,
    grid: Grid,
    rounding: str,
    progress: Stages | None,
    **shown: Any,
) -> ScaleChoice:
    """Choose among scales as `choose_scale` does, for a vector that was found suitable.

    Args:
        scales: from `scales_to_try`.
        shown: images, shipped and seed, as for `divergence_measure`.

    Raises:
        QVecError: as `choose_scale`.
    """
    with divergence_measure(model, vector, grid, rounding, **shown) as divergence:
        curve = follow(divergence, vector, scales, progress)
    best = best_scale(curve, rounding)
    if best and ROUNDINGS.get(rounding).needs_images:
        with divergence_measure(model, vector, grid, rounding, **shown, again=True) as divergence:
            best = best_scale(follow(divergence, vector, (0.0, best), progress), rounding)
    return ScaleChoice(best, curve, grid, rounding)


@usual_settings()
def shipped_images(vector: QuantizationVector, model: PreTrainedModel, images: Tensor | None) -> Tensor | None:
    """As many of the images that come with a vector as a model is shown: uint8 ``(n, size, size, 3)``.

    None when it comes without, or the caller has `images`. They are decoded here, so call it once for all that is done
    with a model.

    Raises:
        ArtifactError: when the vector's contact sheet is damaged.
    """
    return None if images is not None else vector.images(enough_images(model))


def scales_to_try(rounding: str, scales: Any = None) -> list[float]:
    """The scales to try in ascending order, with 0 among them; by default those of the rounding.

    Raises:
        QVecError: when the rounding is unknown, or a scale is not finite.
    """
    scales = ROUNDINGS.get(rounding).scales if scales is None else scales
    try:
        numbers = [number_in(scale) for scale in scales]
    except TypeError:
        numbers = [None]
    if None in numbers:
        raise QVecError(f"scales: expected a list of finite numbers, found {printable(repr(scales))}")
    return sorted({0.0, *(number for number in numbers if number is not None)})


def rank_donors(
    model: PreTrainedModel, vectors: Sequence[QuantizationVector], grid: Grid | str, **how: object
) -> list[tuple[QuantizationVector, ScaleChoice]]:
    """Rank candidate vectors for a receiver by the divergence that is left at each one's best scale.

    Args:
        model: a float classifier; it is unchanged afterwards.
        how: keyword arguments of `choose_scale`.

    Returns:
        (vector, `ScaleChoice`), the smallest divergence first. A vector whose best scale is 0 does not help.

    Raises:
        QVecError: as `choose_scale`, or when `vectors` is empty.
    """
    if not vectors:
        raise QVecError("rank_donors: expected at least one vector, found an empty list")
    choices = [(vector, choose_scale(model, vector, grid, **how)) for vector in vectors]  # type: ignore[arg-type]
    return sorted(choices, key=lambda choice: choice[1].divergence)


@contextmanager
def divergence_measure(
    model: PreTrainedModel,
    vector: QuantizationVector,
    grid: Grid,
    rounding: str,
    images: Tensor | None,
    shipped: Tensor | None,
    again: bool = False,
    seed: int = 0,
) -> Iterator[Callable[[Mapping[str, float]], float]]:
    """Yield a function that takes a scale for each tensor's name and returns the divergence, see `choose_scale`.

    Args:
        vector: found suitable for the model, see `refuse_unsuitable`.
        shipped: from `shipped_images`.
        again: use other images than the first time.
        seed: seed of the proxy images.

    Raises:
        QVecError: when the model refuses the images, or its outputs are not finite.
    """
    tried = ROUNDINGS.get(rounding)
    trained = backbone_tensors(model)
    with usual_settings(), on_copies(model), evaluating(model):
        compared, fitting = _images_to_use(model, images, shipped, again, seed)
        problem, expected = problem_of(model.config), _logits(model, compared)
        if not bool(torch.isfinite(expected).all()):
            raise QVecError(
                f"{type(model).__name__}: expected finite logits of the float receiver, found NaN or infinity; check "
                "its weights and the images"
            )

        def divergence(scales: Mapping[str, float]) -> float:
            for name, tensor in backbone_tensors(model).items():
                scale = scales[name]
                tensor.copy_(add_scaled(trained[name], vector[name], scale) if scale else trained[name])
            if not tried.needs_images:
                weights = {name: layer.weight for name, layer in backbone_linears(model)}
                for name, rounded in fake_quantize_all(weights, grid):
                    weights[name].copy_(rounded)
            else:
                round_linears_(model, grid, tried.trial or rounding, fitting)
            return distance(expected, _logits(model, compared), problem)

        yield divergence


def follow(
    divergence: Callable[[Mapping[str, float]], float],
    names: Iterable[str],
    scales: Sequence[float],
    progress: Stages | None = None,
) -> tuple[tuple[float, float], ...]:
    """Measure (scale, divergence) for each scale, applied to all of the vector's tensors."""
    curve = []
    for scale in scales:
        curve.append((scale, divergence(dict.fromkeys(names, scale))))
        if progress is not None:
            progress("choosing the scale", len(curve), len(scales))
    return tuple(curve)


def best_scale(curve: Sequence[tuple[float, float]], rounding: str) -> float:
    """The scale with the least divergence, or 0 unless that is clearly below the divergence at 0."""
    scale, least = min(curve, key=lambda point: (point[1], abs(point[0])))
    return scale if least < (1 - ROUNDINGS.get(rounding).clear_gain) * dict(curve)[0.0] else 0.0


def _images_to_use(
    model: PreTrainedModel, images: Tensor | None, shipped: Tensor | None, again: bool, seed: int
) -> tuple[Tensor, Tensor]:
    """Images to compare outputs on, and other images to round with; `again` swaps the two halves.

    Of a caller's images, one half is used to round with, and all are used to compare.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise QVecError(f"seed: expected an integer of at least 0, found {seed!r}")
    if images is not None:
        images = images_for(model, images)
        middle = max(1, len(images) // 2)
        return images, images[-middle:] if again else images[:middle]
    enough = enough_images(model)
    even, odd = (None, None) if shipped is None or len(shipped) < 2 else (shipped[::2], shipped[1::2])
    fit, compare = (SEEDS * seed + FIT_SEED, even), (SEEDS * seed + COMPARE_SEED, odd)
    if again:
        fit, compare = compare, fit
    return proxy_pixels(model, max(2, enough // 2), *compare), proxy_pixels(model, max(2, enough // TRIAL), *fit)


def _logits(model: PreTrainedModel, images: Tensor) -> Tensor:
    """``(n, outputs)``, float32 on the CPU.

    Raises:
        QVecError: when the model refuses the images, or has no classification head.
    """
    parts = []
    with only_class_token(model):
        for batch in images.split(BATCH):
            logits = getattr(show(model, batch), "logits", None)
            if logits is None:
                raise QVecError(f"{type(model).__name__}: expected an image classifier with logits, found none")
            parts.append(logits.float().cpu())
    return torch.cat(parts)
