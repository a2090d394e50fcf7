"""Open and check the tensor files of an artifact.

safetensors checks that every byte of a file belongs to exactly one tensor. This module checks the rest: size of the
header, duplicate names, invalid names, empty or absurd shapes, other types.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import ArtifactError, first_line
from ..util.untrusted import parse_json, printable, read_file, size_of
from ..util.written import parse_listed
from . import config as artifact
from .encoding import split_name
from .encodings.registry import ENCODINGS, WHOLE, Shape, TensorEncoding
from .lineage import SAMPLES

__all__ = ["BESIDE", "TensorFiles", "is_shard", "read_lineage", "tensor_files"]

BESIDE = "files"  # key in the metadata of tensor files: the other files of the vector
MAX_HEADER_BYTES = 2 << 20  # about 130 bytes a tensor; also of an index
MAX_LINEAGE_BYTES = 16 << 20
MAX_DIMENSIONS = 8
MAX_NAME = 200
_NAME = re.compile(r"\w[\w-]*(\.\w[\w-]*)*", re.ASCII)
_SHARD = re.compile(r"qvec(-[0-9]{5}-of-[0-9]{5})?\.safetensors")
# safetensors' names of the types that an encoding may use.
_KINDS = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.uint8: "U8", torch.int64: "I64"}
_AGAIN = "fetch or extract the vector again"


def is_shard(name: str) -> bool:
    """Whether a file of this name may hold a vector's tensors."""
    return _SHARD.fullmatch(name) is not None


def tensor_files(folder: Path) -> dict[str, Path]:
    """Tensor name -> file, from the index if there is one.

    Raises:
        ArtifactError: when the files are missing or unreadable, or the index names anything but shards beside it.
    """
    index, single = folder / artifact.INDEX_FILE, folder / artifact.TENSOR_FILE
    if not os.path.lexists(index):
        return dict.fromkeys(_open(single).keys(), single)
    values = parse_json(read_file(index, MAX_HEADER_BYTES), index)
    weight_map = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise ArtifactError(f"{index}: not an index of shards (no weight_map); {_AGAIN}")
    for file in weight_map.values():
        if not isinstance(file, str) or not is_shard(file):
            raise ArtifactError(
                f"{index}: expected shards named qvec-00001-of-0000N.safetensors, found {printable(repr(file), 60)}"
            )
    return {name: folder / file for name, file in weight_map.items()}


class TensorFiles(Mapping[str, Tensor]):
    """Float32 tensors in safetensors files, memory-mapped: a tensor is read, and decoded, when it is used.

    Args:
        files: name of an entry -> the file it is in.

    Raises:
        ArtifactError: when a file is not in safetensors format, a tensor has another type or an impossible shape, or
            the files hold other tensors than `files` says.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        self._handles: dict[Path, Any] = {}
        self._parts: dict[str, dict[str, str]] = {}  # tensor -> part of it -> entry
        for path in dict.fromkeys(files.values()):
            handle = self._handles[path] = _open(path)
            for entry in handle.keys():  # noqa: SIM118  (a handle cannot be iterated)
                if files.get(entry) != path:
                    raise ArtifactError(f"{artifact.INDEX_FILE} and the shards differ: {entry} is in {path.name}")
                name, part = split_name(entry, files)
                self._parts.setdefault(name, {})[part] = entry
        found = {entry for parts in self._parts.values() for entry in parts.values()}
        missing = sorted(printable(entry, 60) for entry in files if entry not in found)
        if missing:
            raise ArtifactError(f"{artifact.INDEX_FILE} and the shards differ in {', '.join(missing[:4])}; {_AGAIN}")
        checked = {name: self._checked(name, parts) for name, parts in self._parts.items()}
        self._encodings = {name: encoding for name, (encoding, _) in checked.items()}
        self.shapes = {name: shape for name, (_, shape) in checked.items()}

    def __getitem__(self, name: str) -> Tensor:
        contents = {part: self._handle(entry).get_tensor(entry) for part, entry in self._parts[name].items()}
        return self._encodings[name].decode(contents, self.shapes[name])

    def stored(self, name: str) -> dict[str, Tensor]:
        """The stored entries of a tensor, not decoded: entry -> its content."""
        return {entry: self._handle(entry).get_tensor(entry) for entry in self._parts[name].values()}

    def encodings(self) -> set[str]:
        """Encodings that tensors are stored in, but float32: small tensors are float32 in each."""
        return {encoding.name for encoding in self._encodings.values()} - {"float32"}

    def paths(self) -> list[Path]:
        """The files that the tensors are mapped from."""
        return list(self._handles)

    def beside(self) -> dict[str, str] | None:
        """The files that were saved beside these, see `written.listed`; None if they are not listed."""
        handle = next(iter(self._handles.values()))
        told = (handle.metadata() or {}).get(BESIDE)
        return None if told is None else parse_listed(told.encode(), self.paths()[0])

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def _handle(self, entry: str) -> Any:
        return self._handles[self._files[entry]]

    def _checked(self, name: str, parts: Mapping[str, str]) -> tuple[TensorEncoding, Shape]:
        """Check that a tensor's parts are complete and consistent, and return its encoding and shape."""
        path = self._files[next(iter(parts.values()))]
        fitting = [encoding for encoding in ENCODINGS if encoding.layout(()).keys() == parts.keys()]
        if not fitting:
            listed = ", ".join(sorted(parts.values()))
            raise ArtifactError(f"{path}: {name} is written as {listed}, expected codes, .scale and .shape; {_AGAIN}")
        if WHOLE in parts:
            kinds = {_KINDS[encoding.layout(())[WHOLE][0]]: encoding for encoding in fitting}
            shape = _shape(self._handle(name), name, path, kinds)
            return kinds[self._handle(name).get_slice(name).get_dtype()], shape
        count = _shape(self._handle(parts["shape"]), parts["shape"], path, ("I64",))
        if len(count) != 1 or count[0] > MAX_DIMENSIONS:
            raise ArtifactError(f"{path}: {parts['shape']} has shape {count}, expected up to {MAX_DIMENSIONS} numbers")
        shape = tuple(self._handle(parts["shape"]).get_tensor(parts["shape"]).tolist())
        for part, (dtype, size) in fitting[0].layout(shape).items():
            found = _shape(self._handle(parts[part]), parts[part], path, (_KINDS[dtype],))
            if min(shape) < 1 or found != size:
                raise ArtifactError(
                    f"{path}: {parts[part]} has shape {found}, which does not go with a tensor of shape "
                    f"{printable(shape, 60)}; {_AGAIN}"
                )
        return fitting[0], shape


def read_lineage(path: Path, tensors: Collection[str] | None) -> dict[str, Tensor] | None:
    """Read the base fingerprint, tensor name -> float32 ``(SAMPLES,)``; None when the artifact has none.

    Args:
        tensors: names of the vector's tensors, which the fingerprint must be of; None skips this check.

    Raises:
        ArtifactError: when the file is not such a fingerprint.
    """
    if not os.path.lexists(path):
        return None
    size_of(path, MAX_LINEAGE_BYTES)
    handle = _open(path)
    sketch = {}
    for name in handle.keys():  # noqa: SIM118
        if tensors is not None and name not in tensors:
            raise ArtifactError(f"{path}: samples {name}, which is not in the vector; {_AGAIN}")
        shape = _shape(handle, name, path, ("F32",))
        if shape != (SAMPLES,):
            raise ArtifactError(f"{path}: {name} has shape {shape}, expected ({SAMPLES},)")
        sample = sketch[name] = handle.get_tensor(name).clone()
        if not math.isfinite(float(torch.dot(sample, sample))):  # or a similarity would be NaN
            raise ArtifactError(f"{path}: {name} holds NaN, infinity or numbers beyond any weight; {_AGAIN}")
    return sketch


def _open(path: Path) -> Any:
    _check_header(path)
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise _broken(path, first_line(error)) from error


def _check_header(path: Path) -> None:
    """Refuse an impossible or ambiguous header before safetensors reads it."""
    size = size_of(path)
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
                raise _broken(path, f"a header of {length} bytes in a file of {size}, at most {MAX_HEADER_BYTES}")
            header = parse_json(file.read(length), path)
    except OSError as error:
        raise _broken(path, first_line(error)) from error
    if not isinstance(header, dict):
        raise _broken(path, "its header is not an object")
    odd = [name for name in header if len(name) > MAX_NAME or not _NAME.fullmatch(name)]
    if odd:
        raise ArtifactError(
            f"{path}: '{printable(odd[0], 60)}' is not a tensor name; expected words joined by dots, at most "
            f"{MAX_NAME} characters"
        )
    if not header.keys() - {"__metadata__"}:
        raise _broken(path, "it holds no tensors")


def _shape(handle: Any, name: str, path: Path, kinds: Collection[str]) -> tuple[int, ...]:
    header = handle.get_slice(name)
    if header.get_dtype() not in kinds:
        raise ArtifactError(f"{path}: {name} is {header.get_dtype()}, expected {' or '.join(kinds)}")
    shape = tuple(header.get_shape())
    if len(shape) > MAX_DIMENSIONS or 0 in shape:
        raise ArtifactError(
            f"{path}: {name} has shape {printable(shape, 60)}, expected up to {MAX_DIMENSIONS} dimensions, none empty"
        )
    return shape


def _broken(path: Path, reason: str) -> ArtifactError:
    return ArtifactError(f"{path}: truncated or not a safetensors file ({printable(reason)}); {_AGAIN}")
