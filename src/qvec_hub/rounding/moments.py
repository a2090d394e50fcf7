"""Second moments of what flows into a linear layer: what every rounding beyond the nearest is found with."""

from __future__ import annotations

from itertools import repeat

from torch import Tensor

from .steps import Step

__all__ = ["Moments"]


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
    def of(cls, step: Step) -> Moments:
        """Moments of what flows into a step."""
        moments = cls()
        for inputs in step.inputs:
            moments.add(inputs)
        return moments

    @classmethod
    def of_both(cls, step: Step, floats: Step) -> Moments:
        """Moments of what flows into a step, and of what flows into the same step of the float twin."""
        moments, streams = (
            cls(),
            zip(step.stream, floats.stream, strict=True) if step.stream and floats.stream else repeat(None),
        )
        for inputs, twins, stream in zip(step.inputs, floats.inputs, streams, strict=False):
            moments.add(inputs, twins, None if stream is None else stream[1] - stream[0])
        return moments

    def add(self, inputs: Tensor, floats: Tensor | None = None, lacking: Tensor | None = None) -> None:
        """Count inputs ``(…, features)`` and, in the same order, those of the twin and ``(…, out)`` of the stream."""
        rows = inputs.reshape(-1, inputs.shape[-1]).float()
        self.rows += len(rows)
        self._own = _plus(self._own, rows.T @ rows)
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


def _plus(total: Tensor | None, more: Tensor) -> Tensor:
    return more.double() if total is None else total.add_(more)
