"""Choosing how much of a vector to add, and which vector, without the receiver's data.

The criterion: how closely the quantized patched receiver follows its own unquantized outputs on proxy images, as the
mean Kullback-Leibler divergence of their class probabilities or what takes its place for another kind of head (see
`criterion.distance`). It needs no labels and knows nothing of the task.
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
from ..rounding.round_model import known_rounding, round_linears_
from ..util.progress import Stages
from ..util.scalars import number_in
from ..util.untrusted import printable
from ..vector.vector import QuantizationVector
from .criterion import distance, problem_of
from .own_images import images_for
from .patch import add_scaled, refuse_unsuitable

__all__ = ["SCALES", "ScaleChoice", "best_scale", "choose_scale", "follow", "rank_donors", "watching"]

SCALES = {  # what is tried, by rounding: error feedback repairs a part of what a vector is for
    "nearest": (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0),
    "gptq": (0.0, 0.25, 0.5, 1.0),
    "fitted": (0.0, 0.25, 0.5, 1.0),
    "tuned": (0.0, 0.25, 0.5, 1.0),
}
CLEAR_GAIN = {  # of plain quantization's divergence: what a vector removes less of may be the luck of the rounding
    "nearest": 0.1,
    "gptq": 0.1,
    "fitted": 0.2,  # where a random vector of the same norms seemed to remove up to 0.17 (10 of 11 receivers)
    "tuned": 0.2,
}
TRIAL = 4  # a scale is tried on rounding with one of so many images
FIT_SEED, WATCH_SEED = 0, 1  # of the proxy images that codes are fitted on, and of those that scales are compared on
SEEDS = 2  # that one trial takes, so that those of another seed are other ones
BATCH = 64


@dataclass(frozen=True)
class ScaleChoice:
    """A scale and what it was chosen by.

    curve: (scale, divergence) as measured by `criterion.distance`, in the order of scales; 0 is plain quantization.
    """

    scale: float
    curve: tuple[tuple[float, float], ...]
    grid: Grid
    rounding: str

    @property
    def divergence(self) -> float:
        """Of the chosen scale."""
        return dict(self.curve)[self.scale]

    @property
    def share_removed(self) -> float:
        """How much of plain quantization's divergence the vector removes, 0 to 1."""
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
    """The scale with which a receiver, patched and quantized, follows its float self most closely on proxy images.

    0, which is plain quantization, is always among the scales: it wins unless another removes `CLEAR_GAIN` of its
    divergence. The cost is one forward pass over the images for the float model and one for every scale; with another
    rounding than ``"nearest"`` each scale is also rounded for, on a quarter of the images and without tuning, and a
    scale that wins must do so again, against 0, on other images.

    Args:
        model: a float classifier; it is the same afterwards.
        scales: to try; by default a few between 0 and 3.
        images: pixel values ``(n, channels, height, width)`` to watch the model on; by default proxy images. The
            receiver's own (unlabelled) images make it a calibrated choice, no longer a zero-shot one.
        progress: see `QVecConfig`.
        seed: of the proxy images, 0 or more; another one shows whether the choice depends on which images were drawn.

    Raises:
        MisfitError, LineageError: when the vector does not suit the model.
        QVecError: when a scale is not finite, the seed negative, the rounding unknown, the model refuses the images,
            or its head gives every image the same answer.
    """
    tried = _tried(SCALES[known_rounding(rounding)] if scales is None else scales)
    with watching(model, vector, grid, rounding, images, check_lineage, seed=seed) as divergence:
        curve = follow(divergence, vector, tried, progress)
    best = best_scale(curve, rounding)
    if best and rounding != "nearest":
        with watching(model, vector, grid, rounding, images, check_lineage, again=True, seed=seed) as divergence:
            best = best_scale(follow(divergence, vector, (0.0, best), progress), rounding)
    return ScaleChoice(best, curve, Grid.parse(grid), rounding)


def _tried(scales: Any) -> list[float]:
    """In their order, 0 among them."""
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
    """Candidate donors for a receiver, the most helpful first, each with the scale that suits it.

    By the divergence that is left at a vector's best scale. A vector whose best scale is 0 does not help at all.

    Args:
        how: as for `choose_scale`.

    Raises:
        QVecError: as `choose_scale`, or when there is no vector.
    """
    if not vectors:
        raise QVecError("rank_donors: expected at least one vector, found an empty list")
    choices = [(vector, choose_scale(model, vector, grid, **how)) for vector in vectors]  # type: ignore[arg-type]
    return sorted(choices, key=lambda choice: choice[1].divergence)


@contextmanager
def watching(
    model: PreTrainedModel,
    vector: QuantizationVector,
    grid: Grid | str,
    rounding: str,
    images: Tensor | None,
    check_lineage: bool,
    again: bool = False,
    seed: int = 0,
) -> Iterator[Callable[[Mapping[str, float]], float]]:
    """A function from scales, by the names of tensors, to the divergence that they leave; see `choose_scale`.

    again: with other images than the first time. seed: of the proxy images.
    """
    grid, rounding = Grid.parse(grid), known_rounding(rounding)
    refuse_unsuitable(vector, model, check_lineage)
    trained = backbone_tensors(model)
    with usual_settings(), on_copies(model), evaluating(model):
        watched, fitting = _watched(model, vector, images, again, seed)
        problem, expected = problem_of(model.config), _logits(model, watched)
        if not bool(torch.isfinite(expected).all()):
            raise QVecError(
                f"{type(model).__name__}: expected finite logits of the float receiver, found NaN or infinity; check "
                "its weights and the images"
            )

        def divergence(scales: Mapping[str, float]) -> float:
            for name, tensor in backbone_tensors(model).items():
                scale = scales[name]
                tensor.copy_(add_scaled(trained[name], vector[name], scale) if scale else trained[name])
            if rounding == "nearest":
                weights = {name: layer.weight for name, layer in backbone_linears(model)}
                for name, rounded in fake_quantize_all(weights, grid).items():
                    weights[name].copy_(rounded)
            else:
                layerwise = "fitted" if rounding == "tuned" else rounding  # tuning is not worth its time for a trial
                round_linears_(model, grid, layerwise, fitting, batch_size=BATCH)
            return distance(expected, _logits(model, watched), problem)

        yield divergence


def follow(
    divergence: Callable[[Mapping[str, float]], float],
    names: Iterable[str],
    scales: Sequence[float],
    progress: Stages | None = None,
) -> tuple[tuple[float, float], ...]:
    """(scale, divergence) of every scale, the same for all of a vector's tensors."""
    curve = []
    for scale in scales:
        curve.append((scale, divergence(dict.fromkeys(names, scale))))
        if progress is not None:
            progress("choosing the scale", len(curve), len(scales))
    return tuple(curve)


def best_scale(curve: Sequence[tuple[float, float]], rounding: str) -> float:
    """The scale with the least divergence; 0 unless that is clearly less than its own."""
    scale, least = min(curve, key=lambda point: (point[1], abs(point[0])))
    return scale if least < (1 - CLEAR_GAIN[rounding]) * dict(curve)[0.0] else 0.0


def _watched(
    model: PreTrainedModel, vector: QuantizationVector, images: Tensor | None, again: bool, seed: int
) -> tuple[Tensor, Tensor]:
    """Images to compare answers on, and others to try roundings with; `again` has the two halves change places.

    Of given images those of one half are rounded with, and all compared on.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise QVecError(f"seed: expected an integer of at least 0, found {seed!r}")
    if images is not None:
        images = images_for(model, images)
        middle = max(1, len(images) // 2)
        return images, images[-middle:] if again else images[:middle]
    enough = enough_images(model)
    shipped = vector.images(enough)
    even, odd = (None, None) if shipped is None or len(shipped) < 2 else (shipped[::2], shipped[1::2])
    fit, watch = (SEEDS * seed + FIT_SEED, even), (SEEDS * seed + WATCH_SEED, odd)
    if again:
        fit, watch = watch, fit
    return proxy_pixels(model, max(2, enough // 2), *watch), proxy_pixels(model, max(2, enough // TRIAL), *fit)


def _logits(model: PreTrainedModel, images: Tensor) -> Tensor:
    """``(n, outputs)``, float32 on the CPU.

    Raises:
        QVecError: when the model does not take the images, or has no head.
    """
    parts = []
    with only_class_token(model):
        for batch in images.split(BATCH):
            logits = getattr(show(model, batch), "logits", None)
            if logits is None:
                raise QVecError(f"{type(model).__name__}: expected an image classifier with logits, found none")
            parts.append(logits.float().cpu())
    return torch.cat(parts)
