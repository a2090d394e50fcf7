"""Choose one scale for each group of layers instead of one for the whole vector."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor
from transformers import PreTrainedModel

from ..artifact.folder import Computed
from ..errors import QVecError
from ..grid.grid import Grid
from ..rounding.registry import ROUNDINGS
from ..util.progress import Stages
from ..util.scalars import integer_in
from ..vector.vector import QuantizationVector
from .choose_scale import best_scale, divergence_measure, follow, shipped_images
from .patch import refuse_unsuitable

__all__ = ["scale_layers"]

FACTORS = (0.5, 1.5)  # of the scale that suits all layers together


def scale_layers(
    model: PreTrainedModel,
    vector: QuantizationVector,
    grid: Grid | str,
    *,
    groups: int = 3,
    rounding: str = "nearest",
    images: Tensor | None = None,
    check_lineage: bool = True,
    progress: Stages | None = None,
    seed: int = 0,
) -> tuple[QuantizationVector, tuple[float, ...]]:
    """Choose one scale for each group of layers and multiply the vector's tensors by them.

    Starts from the scale of `choose_scale`. Then each group in turn tries 0.5 and 1.5 times that scale and keeps the
    one with the smallest divergence from the float receiver, at two passes over the images per group.

    Args:
        groups: number of groups of consecutive encoder layers, as equal as possible. Tensors before the layers belong
            to the first group, tensors after them to the last.
        model, vector, grid, rounding, images, check_lineage, progress, seed: as for `choose_scale`.

    Returns:
        The scaled vector, to be used with ``scale=1.0``, and the groups' scales. When no scale helps, the vector is
        multiplied by zero.

    Raises:
        QVecError: as `choose_scale`, or when there are fewer layers than groups.
        MisfitError, LineageError: as `choose_scale`.
    """
    numbers = {name: _layer(name) for name in vector}
    layers = 1 + max((number for number in numbers.values() if number is not None), default=-1)
    number_of_groups = integer_in(groups)
    if number_of_groups is None or not 1 <= number_of_groups <= layers:
        raise QVecError(f"groups: expected 1 to {layers}, as many as there are layers, found {groups!r}")
    groups = number_of_groups
    group = {name: _group(name, number, layers, groups) for name, number in numbers.items()}
    grid = Grid.parse(grid)
    refuse_unsuitable(vector, model, check_lineage)
    shipped = shipped_images(vector, model, images)
    with divergence_measure(model, vector, grid, rounding, images, shipped, seed=seed) as divergence:
        curve = follow(divergence, vector, ROUNDINGS.get(rounding).scales, progress)
        scale = best_scale(curve, rounding)
        scales, least = [scale] * groups, dict(curve)[scale]
        for place in range(groups if scale else 0):
            for factor in FACTORS:
                tried = [*scales[:place], factor * scale, *scales[place + 1 :]]
                found = divergence({name: tried[at] for name, at in group.items()})
                if found < least:
                    least, scales = found, tried
            if progress is not None:
                progress("scales of layers", place + 1, groups)
    return _scaled(vector, group, scales), tuple(scales)


def _scaled(vector: QuantizationVector, group: dict[str, int], scales: Sequence[float]) -> QuantizationVector:
    config = replace(vector.config, scale=1.0, tensors=None)
    tensors = Computed(vector.shapes(), lambda name: vector[name] * scales[group[name]])
    return QuantizationVector(config, tensors, vector.lineage, images=vector.images)


def _layer(name: str) -> int | None:
    """The encoder layer that a canonical name belongs to."""
    found = re.search(r"\.layers?\.(\d+)\.", f".{name}")
    return int(found[1]) if found else None


def _group(name: str, number: int | None, layers: int, groups: int) -> int:
    if number is None:
        return 0 if "embedding" in name else groups - 1
    return number * groups // layers
