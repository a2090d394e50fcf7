"""`quantize_`: a float model in memory, rounded and packed in place."""

from __future__ import annotations

import copy

from torch import Tensor
from transformers import PreTrainedModel

from .errors import GridError
from .grids import Grid
from .packing import pack
from .prepare import Treatment, codes_of
from .progress import Stages
from .quanto import Packed, PackedLinear, refuse_packed, swap_linears_
from .record import OWN_IMAGES, PROXIES, remember_

__all__ = ["quantize_"]


def quantize_(
    model: PreTrainedModel,
    grid: Grid | str,
    *,
    rounding: str = "nearest",
    images: Tensor | None = None,
    progress: Stages | None = None,
) -> PreTrainedModel:
    """Round the weight of every linear layer of the backbone to the grid and pack it, in place.

    The head, biases, norms, embeddings and the patch convolution stay as they are.

    Args:
        rounding, images, progress: as for `QVecConfig`.

    Raises:
        GridError: when the grid does not exist or a weight holds NaN or infinity; nothing is changed then.
        MisfitError: when the model is quantized already, or has no linear layer to quantize.
        QVecError: when the rounding does not exist, or the model does not take the images; nothing is changed then.
    """
    grid = Grid.parse(grid)
    Treatment(rounding=rounding, images=images)
    refuse_packed(model)
    if rounding == "nearest":
        _pack_linears_(model, swap_linears_(model, grid))
        watched = None
    else:
        codes = codes_of(model, grid, rounding, images, progress)
        for name, layer in swap_linears_(model, grid).items():
            found = codes[name]
            layer.hold(Packed(pack(found.codes, grid.bits, overwrite=True), found.scale, found.shift))
        watched = PROXIES if images is None else OWN_IMAGES
    _own_config(model)
    remember_(model, grid, rounding, watched)
    return model


def _pack_linears_(model: PreTrainedModel, swapped: dict[str, PackedLinear]) -> None:
    """Freeze the swapped layers; when one cannot be, all are put back as they were."""
    weights = {name: module.weight for name, module in swapped.items()}
    try:
        for name, module in swapped.items():
            try:
                module.freeze()
            except GridError as error:
                raise GridError(f"{name}: {error}") from error
    except GridError:
        for name, module in swapped.items():
            model.set_submodule(name, module.to_linear(weights[name]))
        raise


def _own_config(model: PreTrainedModel) -> None:
    """Put a copy of the model's config in its place: models built from one config must not share what follows."""
    shared = model.config
    config = copy.deepcopy(shared)
    for module in model.modules():
        if getattr(module, "config", None) is shared:
            module.config = config  # type: ignore[assignment]
