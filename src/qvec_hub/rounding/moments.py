"""Second moments of what flows into a linear layer: what every rounding beyond the nearest is found with."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .steps import Step

__all__ = ["Moments"]

LEAST_ROWS, ROWS_A_FEATURE = 32_768, 8  # tokens, of what a layer sees: more of them change the result hardly at all
BANDS = 4  # in which half of a symmetric product is computed


class Moments:
    """Second moments of a layer's inputs x̂, and how they go with what its outputs lack.

    An output lacks ``W (x − x̂) + r``: x flows into the layer in the float model, and r is what the residual stream
    lacks that the output is added to.

    Args:
        magnitudes: also sum up ``|x̂|``, which AWQ asks for.
    """

    def __init__(self, magnitudes: bool = False) -> None:
        self.rows = 0
        self._own: Tensor | None = None
        self._cross: Tensor | None = None  # Σ (x − x̂) x̂ᵀ
        self._lacking: Tensor | None = None  # Σ r x̂ᵀ, or of all that outputs lack
        self._wants_magnitudes = magnitudes
        self._magnitudes: Tensor | None = None

    @classmethod
    def of(cls, step: Step, floats: Step | None, parts: int) -> Moments:
        """Moments of what flows into a step, and into the same step of the float twin; of many tokens, of some."""
        moments = cls()
        for number, (inputs, twins) in enumerate(_both(step, floats)):
            lacking = None
            if floats is not None and floats.stream is not None and step.stream is not None:
                lacking = floats.stream[number] - step.stream[number]
            chosen = _Some(inputs, parts, moments.rows)
            rows, twin_rows, lacking = (None if each is None else chosen(each) for each in (inputs, twins, lacking))
            assert rows is not None
            if twin_rows is not None and (weight := _narrowing(step.layers)) is not None:
                lost = F.linear(twin_rows - rows, weight)  # so many columns less than the inputs have
                lacking, twin_rows = lost if lacking is None else lacking + lost, None
            moments.add(rows, twin_rows, lacking)
        return moments

    def add(self, inputs: Tensor, floats: Tensor | None = None, lacking: Tensor | None = None) -> None:
        """Count inputs ``(…, features)``; in the same order those of the twin, and what outputs ``(…, out)`` lack."""
        rows = inputs.reshape(-1, inputs.shape[-1]).float()
        self.rows += len(rows)
        self._own = _plus(self._own, _gram(rows))
        if floats is not None:
            self._cross = _plus(self._cross, (floats.reshape(rows.shape).float() - rows).T @ rows)
        if lacking is not None:
            self._lacking = _plus(self._lacking, lacking.reshape(len(rows), -1).float().T @ rows)
        if self._wants_magnitudes:
            self._magnitudes = _plus(self._magnitudes, rows.abs().sum(dim=0))

    def hessian(self) -> Tensor:
        """``2/N Σ x̂ x̂ᵀ``, float64 ``(features, features)``."""
        assert self._own is not None
        return self._own * (2 / self.rows)

    def missing(self, weight: Tensor) -> Tensor:
        """What the layer's outputs lack on its inputs: ``2/N Σ (W (x − x̂) + r) x̂ᵀ``, ``(out, features)``."""
        total = 0 if self._cross is None else weight.double() @ self._cross
        if self._lacking is not None:
            total = total + self._lacking
        assert isinstance(total, Tensor)
        return total * (2 / self.rows)

    def magnitude(self) -> Tensor:
        """``1/N Σ |x̂|``, float64 ``(features,)``."""
        assert self._magnitudes is not None
        return self._magnitudes / self.rows


def _both(step: Step, floats: Step | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    if floats is None:
        yield from ((inputs, None) for inputs in step.inputs)
    else:
        yield from zip(step.inputs, floats.inputs, strict=True)


class _Some:
    """Takes the same tokens of several tensors ``(…, features)``: all of few, of many some that are drawn by lot."""

    def __init__(self, inputs: Tensor, parts: int, seed: int) -> None:
        count, most = inputs.shape[:-1].numel(), _enough(inputs.shape[-1], parts)
        self.chosen = None
        if count > most:
            lot = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:most]
            self.chosen = lot.to(inputs.device)

    def __call__(self, tokens: Tensor) -> Tensor:
        rows = tokens.reshape(-1, tokens.shape[-1])
        return rows if self.chosen is None else rows[self.chosen]


def _narrowing(layers: tuple[nn.Module, ...]) -> Tensor | None:
    """The weight of a single layer with at most half as many outputs as inputs."""
    weight = layers[0].weight
    assert isinstance(weight, Tensor)
    return weight if len(layers) == 1 and 2 * weight.shape[0] <= weight.shape[1] else None


def _gram(rows: Tensor) -> Tensor:
    """``rowsᵀ rows``; the half above the diagonal is not computed but mirrored."""
    width = rows.shape[1]
    band = -(-width // BANDS)
    product = rows.new_empty(width, width)
    for start in range(0, width, band):
        stop = min(start + band, width)
        torch.mm(rows[:, start:stop].T, rows[:, :stop], out=product[start:stop, :stop])
        product[:start, start:stop] = product[start:stop, :start].T
    return product


def _plus(total: Tensor | None, more: Tensor) -> Tensor:
    return more.double() if total is None else total.add_(more)


def _enough(features: int, parts: int) -> int:
    """Tokens to take of each of so many parts."""
    return max(1, max(LEAST_ROWS, ROWS_A_FEATURE * features) // parts)
