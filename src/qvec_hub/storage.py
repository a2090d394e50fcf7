"""Vector artifacts on disk: reading, checking and writing them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from . import artifact
from .artifact import TensorSummary, VectorConfig
from .errors import ArtifactError, first_line
from .folders import new_folder

__all__ = ["Computed", "read", "shape_of", "summarize", "write"]

_HEADS = re.compile(r"(^|\.)(classifier|cls_classifier|distillation_classifier|head|fc_norm)\.")
_SHARD = re.compile(r"qvec(-\d{5}-of-\d{5})?\.safetensors")


def read(folder: Path) -> tuple[VectorConfig, Mapping[str, Tensor], dict[str, Tensor] | None]:
    """Open an artifact: its config, its tensors (lazily) and its lineage sketch, all checked.

    Raises:
        ArtifactError: when anything is missing, foreign, truncated, not finite, or not what the hash says.
    """
    config = VectorConfig.read(folder / artifact.CONFIG_FILE)
    if config.encoding.name != "float32":
        raise ArtifactError(f"{folder}: encoding {config.encoding.name!r} is unknown; this qvec_hub reads 'float32'")
    tensors = TensorFiles(_tensor_files(folder))
    assert config.tensors is not None
    _refuse_heads(tensors, str(folder))
    _check_content(folder, tensors, config.tensors)
    return config, tensors, _read_lineage(folder / artifact.LINEAGE_FILE)


def write(
    folder: str | Path,
    config: VectorConfig,
    tensors: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    lineage: Mapping[str, Tensor] | None,
) -> None:
    """Write an artifact in one step: the folder keeps its old vector or gets the whole new one."""
    _refuse_heads(tensors, "this vector")
    with new_folder(folder, owned=_owned) as scratch:
        _write_tensors(scratch, tensors, shapes)
        summary = summarize(TensorFiles(_tensor_files(scratch)), str(folder))
        if lineage is not None:
            save_file({name: sample.contiguous() for name, sample in lineage.items()}, scratch / artifact.LINEAGE_FILE)
        text = replace(config, tensors=summary).to_json()
        (scratch / artifact.CONFIG_FILE).write_text(text, encoding="utf-8")


class Computed(Mapping[str, Tensor]):
    """Tensors that are computed when asked for, and not kept."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], tensor: Callable[[str], Tensor]) -> None:
        self.shapes = shapes
        self._tensor = tensor

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.shapes:
            raise KeyError(name)
        return self._tensor(name)

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


class TensorFiles(Mapping[str, Tensor]):
    """Float32 tensors in safetensors files, memory-mapped: a tensor is read when it is used."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        self._handles: dict[Path, Any] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for path in dict.fromkeys(files.values()):
            handle = self._handles[path] = _open(path)
            for name in handle.keys():  # noqa: SIM118  (a handle cannot be iterated)
                header = handle.get_slice(name)
                if header.get_dtype() != "F32":
                    raise ArtifactError(f"{path}: {name} is {header.get_dtype()}, expected F32")
                self.shapes[name] = tuple(header.get_shape())
        if self.shapes.keys() != files.keys():
            odd = sorted(self.shapes.keys() ^ files.keys())
            raise ArtifactError(f"{artifact.INDEX_FILE} and the shards differ in {', '.join(odd[:4])}")

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = self._handles[self._files[name]].get_tensor(name)
        return tensor

    def paths(self) -> list[Path]:
        return list(self._handles)

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def shape_of(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    """A tensor's shape, from the header or the plan where there is one."""
    if isinstance(tensors, (Computed, TensorFiles)):
        return tensors.shapes[name]
    return tuple(tensors[name].shape)


def summarize(tensors: Mapping[str, Tensor], where: str) -> TensorSummary:
    """Count, norm and hash of all tensors, in one pass in order of their names.

    Raises:
        ArtifactError: when a tensor holds NaN or infinity.
    """
    digest, squares, parameters = hashlib.sha256(), 0.0, 0
    for name in sorted(tensors):
        tensor = tensors[name].reshape(-1)
        square = float(torch.dot(tensor, tensor)) if tensor.numel() else 0.0
        if not math.isfinite(square) and not bool(torch.isfinite(tensor).all()):
            raise ArtifactError(f"{where}: {name} holds NaN or infinity")
        squares += float(tensor.double().square().sum()) if not math.isfinite(square) else square
        parameters += tensor.numel()
        digest.update(tensor.view(torch.uint8).numpy().data)
    return TensorSummary(len(tensors), parameters, math.sqrt(squares), digest.hexdigest())


def _check_content(folder: Path, tensors: TensorFiles, expected: TensorSummary) -> None:
    found = sum(math.prod(shape) for shape in tensors.shapes.values())
    if (len(tensors), found) != (expected.count, expected.parameters):
        raise ArtifactError(
            f"{folder}: {artifact.CONFIG_FILE} promises {expected.count} tensors with {expected.parameters} "
            f"parameters, the files hold {len(tensors)} with {found}; fetch or extract the vector again"
        )
    stamp = _stamp(tensors, expected)
    if stamp.exists():
        return
    sha256 = summarize(tensors, str(folder)).sha256
    if sha256 != expected.sha256:
        raise ArtifactError(
            f"{folder}: the tensors are not the ones {artifact.CONFIG_FILE} describes: expected sha256 "
            f"{expected.sha256[:16]}…, found {sha256[:16]}…; fetch or extract the vector again"
        )
    with contextlib.suppress(OSError):  # only a shortcut for the next time
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()


def _stamp(tensors: TensorFiles, expected: TensorSummary) -> Path:
    """Where it is remembered that these very files (same size, same modification time) had this hash."""
    identity = [expected.sha256]
    for path in tensors.paths():
        status = path.stat()
        identity.append(f"{path.resolve()}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}")
    key = hashlib.sha256("\n".join(identity).encode()).hexdigest()
    return Path(huggingface_hub.constants.HF_HOME) / "qvec_hub" / "verified" / key


def _tensor_files(folder: Path) -> dict[str, Path]:
    """Tensor name -> file, by the index where there is one."""
    index, single = folder / artifact.INDEX_FILE, folder / artifact.TENSOR_FILE
    if index.exists():
        try:
            weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            files = {str(name): str(file) for name, file in weight_map.items()}
        except (OSError, ValueError, KeyError, AttributeError, RecursionError) as error:
            raise ArtifactError(f"{index}: not an index of shards ({first_line(error)})") from error
        foreign = sorted({file for file in files.values() if not _SHARD.fullmatch(file)})
        if foreign:
            raise ArtifactError(f"{index}: expected shards named qvec-00001-of-0000N.safetensors, found {foreign[0]!r}")
        return {name: folder / file for name, file in files.items()}
    return dict.fromkeys(_open(single).keys(), single)


def _write_tensors(folder: Path, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    plan = split_torch_state_dict_into_shards(
        {name: torch.empty(shape, device="meta") for name, shape in shapes.items()},
        filename_pattern=artifact.TENSOR_PATTERN,
        max_shard_size=artifact.MAX_SHARD_BYTES,
    )
    for file, names in plan.filename_to_tensors.items():
        save_file({name: tensors[name].contiguous() for name in names}, folder / file, metadata={"format": "pt"})
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        (folder / artifact.INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _read_lineage(path: Path) -> dict[str, Tensor] | None:
    if not path.exists():
        return None
    handle = _open(path)
    return {name: handle.get_tensor(name).clone() for name in handle.keys()}  # noqa: SIM118


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise ArtifactError(f"{path}: is missing; fetch or extract the vector again") from None
    except (SafetensorError, OSError) as error:
        raise ArtifactError(
            f"{path}: truncated or not a safetensors file ({first_line(error)}); fetch or extract the vector again"
        ) from error


def _refuse_heads(tensors: Mapping[str, Tensor], where: str) -> None:
    heads = [name for name in tensors if _HEADS.search(name)]
    if heads:
        raise ArtifactError(f"{where}: {heads[0]} belongs to a head, which a vector never holds; extract it again")


def _owned(name: str) -> bool:
    return bool(_SHARD.fullmatch(name)) or name in (artifact.CONFIG_FILE, artifact.INDEX_FILE, artifact.LINEAGE_FILE)
