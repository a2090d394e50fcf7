"""An artifact as a dictionary, so that a mutation is a change to it, and safetensors files taken apart by hand."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qvec_hub.artifact.config import CARD_FILE, CONFIG_FILE, INDEX_FILE, LINEAGE_FILE


@dataclass(frozen=True)
class Link:
    """A symbolic link; ``{outside}`` in the target stands for the folder beside the artifact."""

    target: str


@dataclass(frozen=True)
class Special:
    """An entry that is no file with bytes: ``"folder"``, ``"pipe"``, ``"socket"``; ``"hole"`` is a huge sparse file."""

    kind: str


Files = dict[str, Any]  # name -> bytes, Link or Special
Header = dict[str, Any]
HOLE_BYTES = 1 << 36


def read(folder: Path) -> Files:
    """The files a vector is loaded from; the card is for people."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != CARD_FILE}


def write(files: Files, folder: Path, outside: Path) -> None:
    """The folder with exactly these entries."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if not path.is_symlink() and path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    for name, content in files.items():
        path = folder / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, Link):
            path.symlink_to(content.target.format(outside=outside))
        else:
            _make(content.kind, path)


def _make(kind: str, path: Path) -> None:
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "hole":
        path.touch()
        os.truncate(path, HOLE_BYTES)
    else:
        before = Path.cwd()
        os.chdir(path.parent)  # the path of a socket has to be a short one
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
        os.chdir(before)


@contextlib.contextmanager
def json_of(files: Files, name: str = CONFIG_FILE) -> Iterator[dict[str, Any]]:
    """A JSON file's values, written back when the block ends."""
    values = json.loads(files[name])
    yield values
    files[name] = json.dumps(values).encode()


def tensor_names(files: Files) -> list[str]:
    """The files that hold the vector's tensors."""
    return sorted(name for name in files if name.startswith("qvec") and name.endswith(".safetensors"))


def unpack(data: bytes) -> tuple[Header, bytes]:
    """Header and body of a safetensors file: 8 bytes of length, JSON, tensors."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def pack(header: Header | bytes, body: bytes, length: int | None = None) -> bytes:
    """A safetensors file, with a header that may be any bytes and a length that may be a lie."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


@contextlib.contextmanager
def opened(files: Files, name: str) -> Iterator[tuple[Header, bytearray]]:
    """A safetensors file's header and body, written back when the block ends."""
    header, body = unpack(files[name])
    parts = header, bytearray(body)
    yield parts
    files[name] = pack(parts[0], bytes(parts[1]))


def tensors(header: Header) -> list[str]:
    return [name for name in header if name != "__metadata__"]


def rename(files: Files, file: str, old: str, new: str) -> None:
    """Give a tensor another name, in its file and wherever else it is named, as a careful forger would."""
    header, body = unpack(files[file])
    files[file] = pack({new if key == old else key: entry for key, entry in header.items()}, body)
    if INDEX_FILE in files:
        with json_of(files, INDEX_FILE) as index:
            index["weight_map"] = {new if key == old else key: at for key, at in index["weight_map"].items()}
    if LINEAGE_FILE in files:
        header, body = unpack(files[LINEAGE_FILE])
        files[LINEAGE_FILE] = pack({new if key == old else key: entry for key, entry in header.items()}, body)


def seal(files: Files) -> None:
    """Make the config's summary agree with the tensor files, so that only checks beyond the hash can refuse them."""
    found = {}
    for file in tensor_names(files):
        header, body = unpack(files[file])
        for name in tensors(header):
            start, end = header[name]["data_offsets"]
            found[name] = (header[name]["shape"], body[start:end])
    values = np.frombuffer(b"".join(found[name][1] for name in sorted(found)), dtype="<f4")
    with np.errstate(all="ignore"):
        norm = math.sqrt(float(np.square(values.astype(np.float64)).sum()))
    with json_of(files) as config:
        config["tensors"] = {
            "count": len(found),
            "parameters": sum(math.prod(shape) for shape, _ in found.values()),
            "norm": norm if math.isfinite(norm) else 1.0,
            "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
        }
