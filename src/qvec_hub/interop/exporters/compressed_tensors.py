"""A ``pack-quantized`` checkpoint of compressed-tensors, which transformers loads without this package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import GridError
from ...grid.grid import Grid
from ...grid.packing import unpack
from ...layers.dequantize import named_packed_layers
from ...layers.packed_linear import PackedLinear
from .plain import plain_copy
from .registry import exporter

__all__ = ["write_compressed"]

_TOLERANCE = 1e-4  # of a step, by which a zero point may miss an integer


@exporter(
    "compressed-tensors",
    "packed weights that transformers loads with the package compressed-tensors",
    packages=("compressed_tensors",),
)
def write_compressed(model: Any, folder: Path) -> str:
    layers = named_packed_layers(model)
    if not layers:
        raise GridError(
            "export to compressed-tensors: the model is not quantized; quantize it first, or export to float"
        )
    grid = next(iter(layers.values())).grid
    tensors = {name: _compressed(name, layer) for name, layer in layers.items()}
    plain = plain_copy(model)
    state = {name: tensor for name, tensor in plain.state_dict().items() if name.removesuffix(".weight") not in layers}
    for name, parts in tensors.items():
        state |= {f"{name}.{part}": tensor for part, tensor in parts.items()}
    untouched = sorted(
        name for name, module in plain.named_modules() if isinstance(module, torch.nn.Linear) and name not in layers
    )
    plain.config.quantization_config = _config(grid, untouched)
    plain.save_pretrained(folder, state_dict=state)
    return (
        "# pip install compressed-tensors\n"
        "from transformers import AutoModelForImageClassification\n\n"
        'model = AutoModelForImageClassification.from_pretrained("FOLDER")\n'
    )


def _compressed(name: str, layer: PackedLinear) -> dict[str, Tensor]:
    """The tensors of one layer: the same codes, densely packed into 32-bit words, a row at a time."""
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32

    grid, size = layer.grid, (layer.out_features, layer.in_features)
    lowest = -grid.fan // 2  # the format's codes are signed on every grid
    codes = unpack(layer.weight_packed, grid.bits, size[0] * size[1], offset=lowest).view(size).to(torch.int8)
    if grid.group_size is not None and size[1] % grid.group_size:
        raise GridError(
            f"export to compressed-tensors: {name} has {size[1]} columns, no multiple of the grid's groups of "
            f"{grid.group_size}, which the format needs; export to float or onnx"
        )
    scale = layer.weight_scale.reshape(-1) if grid.granularity == "tensor" else layer.weight_scale
    parts = {
        "weight_packed": pack_to_int32(codes, grid.bits),
        "weight_scale": scale.clone(),
        "weight_shape": torch.tensor(size),
    }
    if layer.weight_shift is not None:
        zero_point = layer.weight_shift / layer.weight_scale + lowest
        whole = zero_point.round()
        if bool(((zero_point - whole).abs() > _TOLERANCE).any()) or not _within(whole, lowest):
            raise GridError(
                f"export to compressed-tensors: {name} is on {grid.name}, whose zero points lie between the codes; the "
                "format stores them as integers. Export to onnx, which stores them as floats, to float, quantize on a "
                "symmetric grid, or move them onto codes by refit=True (--refit), which changes the weights"
            )
        parts["weight_zero_point"] = pack_to_int32(whole.to(torch.int8), grid.bits, packed_dim=0)
    return parts


def _within(zero_points: Tensor, lowest: int) -> bool:
    return bool((zero_points >= lowest).all()) and bool((zero_points < -lowest).all())


def _config(grid: Grid, untouched: list[str]) -> dict[str, Any]:
    """The entry of ``config.json``."""
    weights = {
        "num_bits": grid.bits,
        "type": "int",
        "symmetric": grid.symmetric,
        "strategy": grid.granularity,
        "group_size": grid.group_size,
        "dynamic": False,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
        "ignore": untouched,
        # Packed zero points do not fit the layers that transformers 5.23 with compressed-tensors 0.20 prepares for
        # them; decompressed while they are loaded they do.
        **({} if grid.symmetric else {"dequantize": True}),
    }
