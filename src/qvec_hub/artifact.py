"""The artifact, format 1: which files a vector repository holds and what its config says.

The config is strict: a missing or mistyped key is an error that names it, an unknown one only warns,
and a newer format version is refused by number.
"""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from .errors import ArtifactError
from .grids import Grid

__all__ = ["CARD_FILE", "CONFIG_FILE", "INDEX_FILE", "LINEAGE_FILE", "TENSOR_FILE", "TENSOR_PATTERN", "VectorConfig"]

FORMAT_VERSION = 1
CONFIG_FILE = "qvec_config.json"
TENSOR_FILE = "qvec.safetensors"
TENSOR_PATTERN = "qvec{suffix}.safetensors"  # suffix is empty, or -00001-of-0000N above MAX_SHARD_BYTES
INDEX_FILE = "qvec.safetensors.index.json"
LINEAGE_FILE = "lineage.safetensors"
CARD_FILE = "README.md"
MAX_SHARD_BYTES = 5 * 10**9
MAX_CONFIG_BYTES = 1 << 20  # a real config has some kilobytes; anything larger is not one


@dataclass(frozen=True)
class Revision:
    """A repository at a commit; either may be unknown."""

    repo_id: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class Donor:
    """The task a vector was made from, and the two models it is the difference of."""

    task: str | None = None
    dataset: str | None = None
    dataset_revision: str | None = None
    finetuned: Revision = field(default_factory=Revision)
    qat: Revision = field(default_factory=Revision)


@dataclass(frozen=True)
class Source:
    """One ingredient of a merged vector."""

    repo_id: str | None
    revision: str | None
    weight: float


@dataclass(frozen=True)
class Encoding:
    """How the tensors are stored."""

    name: str = "float32"


@dataclass(frozen=True)
class TensorSummary:
    """Content of the tensor files: sha256 is over the raw bytes of all tensors in order of their names."""

    count: int
    parameters: int
    norm: float
    sha256: str


@dataclass(frozen=True)
class VectorConfig:
    """``qvec_config.json``. `tensors` is None only while a vector has never been saved."""

    format_version: int
    qvec_hub_version: str
    model_type: str
    architecture: dict[str, Any]
    base_model: Revision
    donor: Donor
    recipe: dict[str, Any]
    grid: Grid
    scale: float
    encoding: Encoding
    tensors: TensorSummary | None
    sources: list[Source]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> VectorConfig:
        """Parse a config file.

        Raises:
            ArtifactError: when the file is missing, not JSON, of a newer format, or not what the format says.
        """
        try:
            if path.stat().st_size > MAX_CONFIG_BYTES:
                raise ArtifactError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes, so not a vector config")
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ArtifactError(
                f"{path.parent}: no {CONFIG_FILE} there, so not a quantization vector; "
                "expected a folder made by save_pretrained or `qvec extract`"
            ) from None
        except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
            raise ArtifactError(f"{path}: not readable as JSON ({error}); fetch or extract the vector again") from error
        return cls.from_dict(values, str(path))

    @classmethod
    def from_dict(cls, values: Any, where: str = CONFIG_FILE) -> VectorConfig:
        if not isinstance(values, dict):
            raise ArtifactError(f"{where}: expected a JSON object, found {type(values).__name__}")
        version = values.get("format_version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise ArtifactError(
                f"{where}: format_version {version} is newer than {FORMAT_VERSION}, the newest this qvec_hub reads; "
                "upgrade qvec_hub"
            )
        config: VectorConfig = _build(cls, values, where, "")
        if config.format_version != FORMAT_VERSION:
            raise ArtifactError(f"{where}: format_version must be {FORMAT_VERSION}, found {config.format_version}")
        if config.tensors is None:
            raise ArtifactError(f"{where}: tensors: expected an object, found null")
        return config

    @staticmethod
    def part(cls: type, values: Any, where: str) -> Any:
        """One of the dataclasses above from a mapping, checked as strictly as a file."""
        return _build(cls, json.loads(json.dumps(values)), where, "")


def _build(cls: Any, values: Any, where: str, prefix: str) -> Any:
    """A dataclass from parsed JSON, every key and type checked."""
    if not isinstance(values, dict):
        raise ArtifactError(f"{where}: {prefix.rstrip('.')}: expected an object, found {_kind(values)}")
    hints = get_type_hints(cls)
    names = [f.name for f in fields(cls)]
    missing = [prefix + name for name in names if name not in values]
    if missing:
        raise ArtifactError(f"{where}: missing {', '.join(missing)}; expected every key of format {FORMAT_VERSION}")
    unknown = sorted(prefix + str(name) for name in values if name not in names)
    if unknown:
        warnings.warn(f"{where}: ignoring unknown keys {', '.join(unknown)}", stacklevel=4)
    checked = {name: _value(hints[name], values[name], where, prefix + name) for name in names}
    return cls(**checked)


def _value(hint: Any, value: Any, where: str, name: str) -> Any:
    if hint is Grid:
        if not isinstance(value, dict):
            raise ArtifactError(f"{where}: {name}: expected an object, found {_kind(value)}")
        return Grid.from_dict(value)
    if hint == (TensorSummary | None):
        return None if value is None else _build(TensorSummary, value, where, f"{name}.")
    if is_dataclass(hint):
        return _build(hint, value, where, f"{name}.")
    if hint == list[Source]:
        if not isinstance(value, list):
            raise ArtifactError(f"{where}: {name}: expected a list, found {_kind(value)}")
        return [_build(Source, item, where, f"{name}[{i}].") for i, item in enumerate(value)]
    if not isinstance(value, _JSON_TYPES[hint]) or isinstance(value, bool):
        raise ArtifactError(f"{where}: {name}: expected {_WANTED[hint]}, found {_kind(value)}")
    if hint is float:
        if not math.isfinite(value):
            raise ArtifactError(f"{where}: {name}: expected a finite number, found {value}")
        return float(value)
    if hint is int and value < 0:
        raise ArtifactError(f"{where}: {name}: expected a count, found {value}")
    return value


_JSON_TYPES: dict[Any, Any] = {
    str: str,
    int: int,
    float: (int, float),
    dict[str, Any]: dict,
    str | None: (str, type(None)),
}
_WANTED: dict[Any, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    dict[str, Any]: "an object",
    str | None: "a string or null",
}


def _kind(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
