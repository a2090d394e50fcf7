"""Open a state dict from a file that other libraries wrote: nothing but tensors is taken from it, and nothing runs."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..errors import ArtifactError, first_line
from ..util.foreign import foreign_errors
from ..util.untrusted import printable, size_of

__all__ = ["PICKLES", "WEIGHTS", "open_state_dict"]

PICKLES = (".pt", ".pth", ".bin")
WEIGHTS = (".safetensors", *PICKLES)
_NESTED = ("state_dict", "model_state_dict", "model")  # where training scripts put the model beside the optimizer


def open_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Open the tensors of a ``.safetensors`` file or of a pickled state dict, mapped from the file.

    A pickle is read with ``weights_only=True``: one that asks for anything but tensors and plain values is refused, and
    none of its code runs.

    Args:
        path: a ``.safetensors``, ``.pt``, ``.pth`` or ``.bin`` file.

    Raises:
        ArtifactError: when it is no such file, is damaged, or holds anything but dense tensors by name.
    """
    path = Path(path).expanduser()
    size_of(path)
    if path.suffix not in WEIGHTS:
        raise ArtifactError(f"{path}: expected a file that ends in {', '.join(WEIGHTS)}")
    state = _read(path)
    if not isinstance(state, Mapping):
        raise ArtifactError(f"{path}: expected a state dict, found {type(state).__name__}; save model.state_dict()")
    nested = next((key for key in _NESTED if isinstance(state.get(key), Mapping)), None)
    state = state if nested is None else state[nested]
    for name, tensor in state.items():
        _refuse(path, name, tensor)
    if not state:
        raise ArtifactError(f"{path}: holds no tensors; expected a state dict")
    return dict(state)


def _read(path: Path) -> Any:
    with foreign_errors(ArtifactError, f"{path}: cannot be read as a state dict", "fetch or save it again"):
        if path.suffix == ".safetensors":
            return load_file(path)
        mapped = zipfile.is_zipfile(path)  # the format before PyTorch 1.6 is no archive and cannot be mapped
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except pickle.UnpicklingError as error:
            raise ArtifactError(
                f"{path}: holds more than tensors and was not opened, since loading it could run code "
                f"({printable(first_line(error), 200)}); save a plain state dict of tensors"
            ) from error


def _refuse(path: Path, name: Any, tensor: Any) -> None:
    """Raise for anything but a dense tensor whose numbers the file really holds."""
    said = f"{path}: {printable(name, 80)}"
    if not isinstance(name, str) or not isinstance(tensor, Tensor):
        raise ArtifactError(f"{said} is {type(tensor).__name__}; expected tensors by name alone")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta:
        raise ArtifactError(f"{said} is no dense tensor of real numbers")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ArtifactError(f"{said} has shape {tuple(tensor.shape)}, but the file holds fewer numbers; it is damaged")
