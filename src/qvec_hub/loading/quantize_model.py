"""`quantize_`: round and pack a float model in memory, in place."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..apply.treatment import Treatment, codes_of
from ..artifact.model_record import OWN_IMAGES, PROXIES
from ..backbone.names import backbone_linears
from ..errors import GridError
from ..grid.grid import Grid
from ..grid.packing import pack
from ..layers.packed_linear import PackedLinear, put_layers_, refuse_packed
from ..layers.packed_weight import Packed, pack_weight
from ..rounding.registry import PLAIN
from ..util.progress import Stages
from .record import remember_

__all__ = ["quantize_"]


def quantize_(
    model: PreTrainedModel,
    grid: Grid | str,
    *,
    rounding: str = PLAIN,
    images: Tensor | None = None,
    progress: Stages | None = None,
) -> PreTrainedModel:
    """Round the weight of every linear layer of the backbone to a grid and pack it, in place.

    The head, biases, norms, embeddings and the patch convolution are not changed.

    Args:
        model: a float transformers image classifier.
        grid: a `Grid` or its name, such as ``"int3"``.
        rounding, images, progress: as for `QVecConfig`.

    Returns:
        The same model; its linear layers are `PackedLinear` now.

    Raises:
        GridError: when the grid does not exist or a weight holds NaN or infinity; the model is then unchanged.
        MisfitError: when the model is quantized already, or has no linear layer to quantize.
        QVecError: when the rounding does not exist, or the model refuses the images; the model is then unchanged.
    """
    grid = Grid.parse(grid)
    Treatment(1.0, rounding, images).resolved(None, grid)
    refuse_packed(model)
    if rounding == PLAIN:
        packed, shown = _rounded(model, grid), None
    else:
        codes = codes_of(model, grid, rounding, images, progress)
        packed = {
            name: Packed(pack(found.codes, grid.bits, overwrite=True), found.scale, found.shift)
            for name, found in codes.items()
        }
        shown = PROXIES if images is None else OWN_IMAGES
    layers = {name: PackedLinear.from_linear(linear, grid) for name, linear in backbone_linears(model)}
    for name, layer in layers.items():
        layer.hold(packed[name])
    _pack_linears_(model, layers)
    _own_config(model)
    remember_(model, grid, rounding, shown)
    return model


@torch.no_grad()
def _rounded(model: PreTrainedModel, grid: Grid) -> dict[str, Packed]:
    packed = {}
    for name, layer in backbone_linears(model):
        try:
            packed[name] = pack_weight(layer.weight.detach(), grid)
        except GridError as error:
            raise GridError(f"{name}: {error}") from error
    return packed


def _pack_linears_(model: PreTrainedModel, layers: Mapping[str, PackedLinear]) -> None:
    """Replace the linear layers by packed ones: all of them, or none when this is interrupted."""
    before = list(model.named_modules(remove_duplicate=False))
    try:
        put_layers_(model, layers)
    except BaseException:
        for name, module in before:
            if name and model.get_submodule(name) is not module:
                model.set_submodule(name, module)
        raise


def _own_config(model: PreTrainedModel) -> None:
    """Replace the model's config by a copy, because models built from one config must not share the record."""
    shared = model.config
    config = copy.deepcopy(shared)
    for module in model.modules():
        if getattr(module, "config", None) is shared:
            module.config = config  # type: ignore[assignment]
