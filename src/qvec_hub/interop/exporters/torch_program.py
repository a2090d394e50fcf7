"""A program of torch.export, with a byte a weight."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import QVecError
from ...grid.packing import unpack
from ...layers.dequantize import named_packed_layers
from ...layers.packed_linear import PackedLinear
from ...util.foreign import foreign_errors
from .plain import Logits, example_images
from .registry import exporter

__all__ = ["FILE", "write_program"]

FILE = "model.pt2"


class _ByteLinear(nn.Module):
    """A linear layer that keeps the codes of a packed one in a byte each, and computes by plain operators."""

    codes: Tensor  # int8 or uint8 (out, in)
    scale: Tensor  # float32 (rows, groups)
    shift: Tensor | None
    bias: Tensor | None

    def __init__(self, layer: PackedLinear) -> None:
        super().__init__()
        grid, size = layer.grid, (layer.out_features, layer.in_features)
        codes = unpack(layer.weight_packed, grid.bits, size[0] * size[1], torch.int16, grid.qmin)
        self.register_buffer("codes", codes.view(size).to(torch.int8 if grid.symmetric else torch.uint8))
        self.group = grid.group_size
        self.register_buffer("scale", layer.weight_scale)
        self.register_buffer("shift", layer.weight_shift)
        self.register_buffer("bias", layer.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        weight = self.codes.float() * self._by_column(self.scale)
        weight = weight if self.shift is None else weight - self._by_column(self.shift)
        return F.linear(inputs, weight.to(inputs.dtype), self.bias)

    def _by_column(self, values: Tensor) -> Tensor:
        """Values of groups ``(rows, groups)`` -> of columns ``(rows, columns)``; without groups as they are."""
        return values if self.group is None else values.repeat_interleave(self.group, dim=1)[:, : self.codes.shape[1]]


@exporter("torch", "a program of torch.export with a byte a weight, for PyTorch without transformers")
def write_program(model: Any, folder: Path) -> str:
    images, copied = example_images(model), copy.deepcopy(model)
    for name, layer in named_packed_layers(copied).items():  # the packed layer's operator needs this package
        copied.set_submodule(name, _ByteLinear(layer))
    with foreign_errors(QVecError, "torch.export could not trace the model"), torch.no_grad():
        program = torch.export.export(
            Logits(copied).eval(),
            (images,),
            dynamic_shapes={"pixel_values": {0: torch.export.Dim("n", min=1, max=4096)}},
        )
        written = io.BytesIO()  # where the disk is full, torch's own writer would end the process
        torch.export.save(program, written)
    (folder / FILE).write_bytes(written.getvalue())
    return (
        "import torch\n\n"
        f'model = torch.export.load("FOLDER/{FILE}").module()\n'
        "logits = model(pixel_values)  # float (n, channels, height, width)\n"
    )
