"""Scales tuned together: what each layer was fitted to alone, fitted once more to what comes out at the end.

The float model is the teacher, and codes stay as they are, so that a few numbers a row are all that can overfit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import PreTrainedModel

from ..backbone.class_token import only_class_token
from ..backbone.conditions import usual_settings
from ..backbone.forward import evaluating
from ..backbone.names import backbone_linears
from ..backbone.tokens import tokens_per_image
from ..grid.code_levels import code_levels
from ..grid.codes import values
from ..grid.grid import Grid
from ..grid.quantize import Quantized, spread_units

__all__ = ["STEPS", "tune_scales"]

STEPS = 100
RATE = 0.003  # of a scale itself, and of a shift in steps of the grid
TOKENS = 1088  # in a step: 64 images of 24 × 24 pixels in patches of 6
LEAST_IMAGES = 8
MIXED = 0.5  # share of the images that another one shines through
WARMUP = 10


@usual_settings()
def tune_scales(
    model: PreTrainedModel,
    found: Mapping[str, Quantized],
    grid: Grid,
    pixel_values: Tensor,
    *,
    steps: int | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Quantized]:
    """Codes as they are, with scales and shifts that bring a quantized model's features closest to the float model's.

    The features are what the head takes (of a model with several heads: its logits); their mean squared difference
    is minimized by Adam, on random batches of the images, mirrored, moved and mixed with each other.

    Args:
        model: the float model; it is the same afterwards.
        found: codes by the names of the backbone's linear layers.
        pixel_values: ``(images, channels, height, width)``.
        steps: of the optimizer, `STEPS` by default.
        progress: called with 1 for every step.

    Raises:
        KeyError: when `found` lacks a layer.
    """
    steps = STEPS if steps is None else steps
    student = _Student(model, found, grid)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(student.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    pixels = pixel_values.to(dtype=model.dtype)
    with _frozen(model), only_class_token(model), _Features(model) as features, torch.enable_grad():
        count = min(len(pixels), _images_of_a_step(model, pixels[:1]))
        for _ in range(steps):
            batch = _varied(pixels, count, generator).to(model.device)
            with torch.no_grad():
                wanted = features.of(batch, {})
            loss = (features.of(batch, student.weights()) - wanted).square().mean() / wanted.square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if progress is not None:
                progress(1)
    return student.quantized()


class _Student(nn.Module):
    """Scales ``s·exp(a)`` and shifts ``h + s·b`` of all layers, with a and b to be learned."""

    def __init__(self, model: PreTrainedModel, found: Mapping[str, Quantized], grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.found = {name: found[name] for name, _ in backbone_linears(model)}
        self.dtype = model.dtype
        self.factors = nn.ParameterList(torch.zeros_like(each.scale) for each in self.found.values())
        shifts = [each.shift for each in self.found.values()]
        self.moves = nn.ParameterList(torch.zeros_like(shift) for shift in shifts if shift is not None)

    def weights(self) -> dict[str, Tensor]:
        """The layers' weights as they follow from the codes, differentiable."""
        weights = {}
        for name, (codes, scale, shift) in self._units():
            shift = None if shift is None else spread_units(shift, codes.shape, self.grid)
            weight = values(code_levels(codes, self.grid), spread_units(scale, codes.shape, self.grid), shift)
            weights[f"{name}.weight"] = weight.to(self.dtype)
        return weights

    def quantized(self) -> dict[str, Quantized]:
        with torch.no_grad():
            return dict(self._units())

    def _units(self) -> Iterator[tuple[str, Quantized]]:
        for place, (name, each) in enumerate(self.found.items()):
            shift = None if each.shift is None else each.shift + each.scale * self.moves[place]
            yield name, Quantized(each.codes, each.scale * self.factors[place].exp(), shift)


class _Features:
    """What a model hands its head; the logits where it has not exactly one linear head."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        heads = [child for child in model.children() if type(child) is nn.Linear]
        self.head = heads[0] if len(heads) == 1 else None
        self._taken: list[Tensor] = []

    def of(self, pixel_values: Tensor, weights: dict[str, Tensor]) -> Tensor:
        """``(images, features)`` with some of the model's weights replaced."""
        self._taken.clear()
        output = functional_call(self.model, weights, kwargs={"pixel_values": pixel_values})
        return (self._taken[0] if self._taken else output.logits).float()

    def __enter__(self) -> _Features:
        self._hook = None
        if self.head is not None:
            self._hook = self.head.register_forward_pre_hook(lambda head, args: self._taken.append(args[0]))
        return self

    def __exit__(self, *_: object) -> None:
        if self._hook is not None:
            self._hook.remove()


def _varied(pixels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Some of the images, drawn with replacement: half of them mirrored, all moved alike, `MIXED` of them mixed."""
    batch = pixels[torch.randint(len(pixels), (count,), generator=generator)]
    mirrored = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    batch = torch.where(mirrored, batch.flip(-1), batch)
    reach = max(1, batch.shape[-1] // 8)
    down, right = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
    batch = batch.roll((down, right), (-2, -1))
    mixed = torch.rand(count, 1, 1, 1, generator=generator) < MIXED
    share = torch.where(mixed, torch.rand(count, 1, 1, 1, generator=generator), torch.ones(()))
    return torch.lerp(batch[torch.randperm(count, generator=generator)], batch, share.to(batch.dtype))


def _images_of_a_step(model: PreTrainedModel, pixels: Tensor) -> int:
    """As many as have `TOKENS` tokens together."""
    tokens = tokens_per_image(model.config, *pixels.shape[-2:])
    return LEAST_IMAGES if tokens is None else max(LEAST_IMAGES, TOKENS // tokens)


def _rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine to zero."""
    return min(1.0, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * step / steps))


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and no gradients of the model's own parameters."""
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    with evaluating(model):
        try:
            for parameter, _ in wanted:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter, needed in wanted:
                parameter.requires_grad_(needed)
