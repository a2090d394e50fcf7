"""An ONNX model whose weights are stored in the narrowest width that ONNX Runtime executes."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import QVecError
from ...grid.grid import Grid
from ...grid.packing import unpack
from ...layers.dequantize import named_packed_layers
from ...layers.packed_linear import PackedLinear
from ...util.foreign import foreign_errors
from .plain import Logits, example_images, plain_copy
from .registry import exporter

__all__ = ["FILE", "write_onnx"]

FILE = "model.onnx"
Operands = tuple[dict[str, Any], dict[str, Any]]  # tensors by what they are, and attributes
_WIDTHS = (2, 4, 8)  # of MatMulNBits
_BLOCKS = (16, 32, 64, 128, 256)  # columns that share a scale in MatMulNBits
_BLOCK = 128  # taken where a whole row shares one


@exporter(
    "onnx",
    "an ONNX model for ONNX Runtime, weights packed in 2, 4 or 8 bits",
    packages=("onnx", "onnxscript"),
)
def write_onnx(model: Any, folder: Path) -> str:
    import onnx

    layers = named_packed_layers(model)
    operands = {name: _operands(layer) for name, layer in layers.items()}
    plain = plain_copy(model)
    with foreign_errors(QVecError, "torch.onnx could not export the model"), _quietly(), torch.no_grad():
        program = torch.onnx.export(
            Logits(plain).eval(),
            (example_images(plain),),
            dynamo=True,
            verbose=False,
            input_names=["pixel_values"],
            output_names=["logits"],
            dynamic_shapes={"pixel_values": {0: "n"}},
        )
    assert program is not None
    made = program.model_proto
    _pack_products_(made, layers, operands)
    labels = {str(number): label for number, label in (model.config.id2label or {}).items()}
    for key, value in (("labels", json.dumps(labels)), ("image_size", str(model.config.image_size))):
        made.metadata_props.add(key=key, value=value)
    onnx.save(made, str(folder / FILE))
    return (
        "# pip install onnxruntime\n"
        "import onnxruntime\n\n"
        f'session = onnxruntime.InferenceSession("FOLDER/{FILE}", providers=["CPUExecutionProvider"])\n'
        'logits = session.run(["logits"], {"pixel_values": pixel_values})[0]  # float32 (n, channels, height, width)\n'
    )


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back what the exporter says of itself: of operators of torchvision, of its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _pack_products_(made: Any, layers: dict[str, PackedLinear], operands: dict[str, Operands]) -> None:
    """Replace the product with a packed layer's weight by ``MatMulNBits`` on its codes.

    The exporter transposes weights and renames them, so they are told by their content.
    """
    from onnx import helper, numpy_helper

    graph = made.graph
    by_content = {_content(layer.weight.dequantize().float().T): name for name, layer in layers.items()}
    found: dict[str, str] = {}
    for item in graph.initializer:
        if len(item.dims) == 2:
            known = by_content.get(_content(torch.from_numpy(numpy_helper.to_array(item).copy())))
            if known is not None:
                found[item.name] = known
    replaced = set()
    for position, node in enumerate(graph.node):
        name = found.get(node.input[1]) if node.op_type == "MatMul" else None
        if name is None:
            continue
        inputs, attributes = operands[name]
        graph.initializer.extend(numpy_helper.from_array(v, f"{name}.{part}") for part, v in inputs.items())
        named = [f"{name}.{part}" for part in inputs]
        new = helper.make_node(
            "MatMulNBits", [node.input[0], *named], list(node.output), domain="com.microsoft", **attributes
        )
        graph.node[position].CopyFrom(new)
        replaced.add(name)
    missing = sorted(layers.keys() - replaced)
    if missing:
        raise QVecError(
            f"export to onnx: the exported graph has no product with the weight of {', '.join(missing[:3])}"
        )
    used = {name for node in graph.node for name in node.input}
    for item in [item for item in graph.initializer if item.name not in used]:
        graph.initializer.remove(item)
    if replaced:
        made.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _operands(layer: PackedLinear) -> Operands:
    """Codes, scales and zero points of one layer as ``MatMulNBits`` takes them.

    Codes ``(rows, blocks, block · width / 8)`` uint8, scales and zero points ``(rows · blocks)`` float32: a weight is
    ``(code - zero point) · scale`` with codes from 0. Three-bit codes are stored in 4 bits, 5 to 7 in 8.
    """
    grid, (rows, columns) = layer.grid, (layer.out_features, layer.in_features)
    width, block = next(width for width in _WIDTHS if width >= grid.bits), grid.group_size or _BLOCK
    if block not in _BLOCKS:
        raise QVecError(
            f"export to onnx: groups of {block} columns; ONNX Runtime takes {', '.join(map(str, _BLOCKS))}. Export to "
            "float or compressed-tensors"
        )
    blocks = -(-columns // block)
    middle = 1 << (width - 1)
    if layer.weight_shift is not None and width == 8:
        raise QVecError(
            f"export to onnx: {grid.name} has zero points between its codes, which ONNX Runtime takes at 2 and 4 bits "
            "alone; export to float, or quantize on a symmetric grid"
        )
    codes = unpack(layer.weight_packed, grid.bits, rows * columns, offset=grid.qmin).view(rows, columns)
    codes += middle if grid.symmetric else 0  # the zero point where none is given
    padded = torch.full((rows, blocks * block), middle, dtype=torch.uint8)
    padded[:, :columns] = codes.to(torch.uint8)
    inputs = {
        "codes": _packed(padded.view(rows, blocks, block), width).numpy(),
        "scales": _by_block(layer.weight_scale, grid, rows, blocks).numpy(),
    }
    if layer.weight_shift is not None:  # code · scale - shift = (code - shift / scale) · scale
        points = _by_block(layer.weight_shift / layer.weight_scale, grid, rows, blocks)
        inputs["zero_points"] = points.numpy()
    return inputs, {"K": columns, "N": rows, "bits": width, "block_size": block}


def _by_block(values: Tensor, grid: Grid, rows: int, blocks: int) -> Tensor:
    """Values ``(rows or 1, groups)`` -> one a block, float32 ``(rows · blocks)``."""
    return values.float().expand(rows, blocks).reshape(-1).contiguous()


def _packed(codes: Tensor, width: int) -> Tensor:
    """Pack codes of a block, the first in the lowest bits: ``(…, n)`` -> ``(…, n · width / 8)`` uint8."""
    parts = codes.view(*codes.shape[:-1], -1, 8 // width)
    packed = torch.zeros_like(parts[..., 0])
    for place in range(8 // width):
        packed |= parts[..., place] << (place * width)
    return packed


def _content(weight: Tensor) -> tuple[tuple[int, ...], bytes]:
    return tuple(weight.shape), weight.contiguous().numpy().tobytes()
