"""Second moments of what flows into a linear layer: what every rounding beyond the nearest is found with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import overload

import torch
from torch import Tensor

from .steps import Step

__all__ = ["Moments"]

LEAST_ROWS, ROWS_A_FEATURE = 16_384, 8  # more tokens than that change nothing that could be measured
BANDS = 4  # in which half of a symmetric product is computed


class Moments:
    """Second moments of a layer's inputs x̂, and how they go with its twin's inputs x and with the lacking residual.

    Args:
        magnitudes: also sum up ``|x̂|``, which AWQ asks for.
    """

    def __init__(self, magnitudes: bool = False) -> None:
        self.rows = 0
        self._own: Tensor | None = None
        self._cross: Tensor | None = None
        self._residual: Tensor | None = None
        self._wants_magnitudes = magnitudes
        self._magnitudes: Tensor | None = None

    @classmethod
    def of(cls, step: Step, floats: Step | None, parts: int) -> Moments:
        """Moments of what flows into a step, and into the same step of the float twin; of many tokens, of some."""
        moments = cls()
        for inputs, twins, lacking in _pairs(step, floats):
            every, most = inputs.shape[:-1].numel(), _enough(inputs.shape[-1], parts)
            chosen = _some(every, most, moments.rows).to(inputs.device) if every > most else None
            moments.add(_rows(inputs, chosen), _rows(twins, chosen), _rows(lacking, chosen))
        return moments

    def add(self, inputs: Tensor, floats: Tensor | None = None, lacking: Tensor | None = None) -> None:
        """Count inputs ``(…, features)`` and, in the same order, those of the twin and ``(…, out)`` of the stream."""
        rows = inputs.reshape(-1, inputs.shape[-1]).float()
        self.rows += len(rows)
        self._own = _plus(self._own, _gram(rows))
        if floats is not None:
            self._cross = _plus(self._cross, (floats.reshape(rows.shape).float() - rows).T @ rows)
        if lacking is not None:
            self._residual = _plus(self._residual, lacking.reshape(len(rows), -1).float().T @ rows)
        if self._wants_magnitudes:
            self._magnitudes = _plus(self._magnitudes, rows.abs().sum(dim=0))

    def hessian(self) -> Tensor:
        """``2/N Σ x̂ x̂ᵀ``, float64 ``(features, features)``."""
        assert self._own is not None
        return self._own * (2 / self.rows)

    def missing(self, weight: Tensor) -> Tensor:
        """What the layer's outputs lack on its inputs: ``2/N Σ (W (x − x̂) + residual) x̂ᵀ``, ``(out, features)``."""
        assert self._cross is not None
        total = weight.double() @ self._cross
        return (total if self._residual is None else total + self._residual) * (2 / self.rows)

    def magnitude(self) -> Tensor:
        """``1/N Σ |x̂|``, float64 ``(features,)``."""
        assert self._magnitudes is not None
        return self._magnitudes / self.rows


def _pairs(step: Step, floats: Step | None) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
    """Part by part: the inputs, those of the float twin, and what the residual stream lacks."""
    if floats is None:
        yield from ((inputs, None, None) for inputs in step.inputs)
        return
    for number, (inputs, twins) in enumerate(zip(step.inputs, floats.inputs, strict=True)):
        if step.stream is None or floats.stream is None:
            yield inputs, twins, None
        else:
            yield inputs, twins, floats.stream[number] - step.stream[number]


def _enough(features: int, parts: int) -> int:
    """How many tokens of each part are taken; of very many parts still one."""
    return max(1, max(LEAST_ROWS, ROWS_A_FEATURE * features) // parts)


def _some(count: int, wanted: int, seed: int) -> Tensor:
    """Some of the numbers below `count`, drawn by lot."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:wanted]


@overload
def _rows(tokens: Tensor, chosen: Tensor | None) -> Tensor: ...
@overload
def _rows(tokens: None, chosen: Tensor | None) -> None: ...
def _rows(tokens: Tensor | None, chosen: Tensor | None) -> Tensor | None:
    """Tokens ``(…, features)`` one under the other, all or the chosen ones."""
    if tokens is None or chosen is None:
        return tokens
    return tokens.reshape(-1, tokens.shape[-1])[chosen]


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
