"""The artifact, format 1: which files a vector repository holds and what its config says.

The config is strict: a missing or mistyped key is an error that names it, an unknown key only warns, and a newer format
version is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ArtifactError
from ..grid.grid import Grid
from ..util.untrusted import parse_json, read_file
from . import schema
from .schema import COUNTABLE, NAME, REPO_ID, REVISION, SHA256, SIZES, SUBFOLDER

__all__ = [
    "CARD_FILE",
    "CONFIG_FILE",
    "IMAGES_FILE",
    "INDEX_FILE",
    "LINEAGE_FILE",
    "MAX_CARD_BYTES",
    "TENSOR_FILE",
    "TENSOR_PATTERN",
    "VectorConfig",
]

FORMAT_VERSION = 1
CONFIG_FILE = "qvec_config.json"
TENSOR_FILE = "qvec.safetensors"
TENSOR_PATTERN = "qvec{suffix}.safetensors"  # suffix is empty, or -00001-of-0000N above MAX_SHARD_BYTES
INDEX_FILE = "qvec.safetensors.index.json"
LINEAGE_FILE = "lineage.safetensors"
IMAGES_FILE = "images.png"
CARD_FILE = "README.md"
MAX_CARD_BYTES = 4 << 20
MAX_SHARD_BYTES = 5 * 10**9
MAX_CONFIG_BYTES = 1 << 20  # a config has some kilobytes


@dataclass(frozen=True)
class Revision:
    """A repository at a commit; either may be None, unknown. `subfolder` is the folder in it, None for its root."""

    repo_id: str | None = field(default=None, metadata={"rule": REPO_ID})
    revision: str | None = field(default=None, metadata={"rule": REVISION})
    subfolder: str | None = field(default=None, metadata={"rule": SUBFOLDER, "optional": True})

    def to_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = schema.to_json(self)
        return values


@dataclass(frozen=True)
class Donor:
    """The task that a vector was made from, and the two models whose difference it is."""

    task: str | None = field(default=None, metadata={"rule": NAME})
    dataset: str | None = field(default=None, metadata={"rule": NAME})
    dataset_revision: str | None = field(default=None, metadata={"rule": REVISION})
    finetuned: Revision = field(default_factory=Revision)
    qat: Revision = field(default_factory=Revision)


@dataclass(frozen=True)
class Source:
    """One vector of a merged one, with its weight; `subfolder` is the folder in the repository, None for its root."""

    repo_id: str | None = field(metadata={"rule": REPO_ID})
    revision: str | None = field(metadata={"rule": REVISION})
    weight: float
    subfolder: str | None = field(default=None, metadata={"rule": SUBFOLDER, "optional": True})

    def to_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = schema.to_json(self)
        return values


@dataclass(frozen=True)
class Encoding:
    """How the tensors are stored (see `encoding`), and the relative error ``‖ρ − ρ̂‖ / ‖ρ‖``; None if exact."""

    name: str = field(default="float32", metadata={"rule": NAME})
    relative_error: float | None = field(default=None, metadata={"rule": COUNTABLE, "optional": True})


@dataclass(frozen=True)
class TensorSummary:
    """Content of the tensor files; `sha256` is over the raw float32 bytes of all tensors in order of their names."""

    count: int = field(metadata={"rule": COUNTABLE})
    parameters: int = field(metadata={"rule": COUNTABLE})
    norm: float = field(metadata={"rule": COUNTABLE})
    sha256: str = field(metadata={"rule": SHA256})


@dataclass(frozen=True)
class VectorConfig:
    """The content of ``qvec_config.json``; `tensors` is None until the vector is saved."""

    format_version: int
    qvec_hub_version: str = field(metadata={"rule": NAME})
    model_type: str = field(metadata={"rule": NAME})
    architecture: dict[str, Any] = field(metadata={"rule": SIZES})
    base_model: Revision
    donor: Donor
    recipe: dict[str, Any]
    grid: Grid
    scale: float
    encoding: Encoding
    tensors: TensorSummary | None
    sources: list[Source]

    def to_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = schema.to_json(self)
        return values

    def to_json(self) -> str:
        """The text of the file.

        Raises:
            ArtifactError: when `read` would refuse it, such as a recipe with NaN or a path, or a task of two lines.
        """
        text = _dump(self.to_dict, "the vector's config", indent=2) + "\n"
        VectorConfig.from_dict(parse_json(text.encode(), "the vector's config"), "the vector's config")
        return text

    @classmethod
    def read(cls, path: Path) -> VectorConfig:
        """Parse a config file.

        Raises:
            ArtifactError: when the file is missing, is not JSON, has a newer format version, or breaks the format.
        """
        if not os.path.lexists(path):
            raise ArtifactError(
                f"{path.parent}: not a quantization vector, it holds no {CONFIG_FILE}; "
                "expected a folder made by save_pretrained or `qvec extract`"
            )
        return cls.from_dict(parse_json(read_file(path, MAX_CONFIG_BYTES), path), str(path))

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
        config: VectorConfig = schema.build(cls, values, where)
        if config.format_version != FORMAT_VERSION:
            raise ArtifactError(f"{where}: format_version must be {FORMAT_VERSION}, found {config.format_version}")
        if config.tensors is None:
            raise ArtifactError(f"{where}: tensors: expected an object, found null")
        return config

    @staticmethod
    def part(cls: type, values: Any, where: str) -> Any:
        """Build one of the dataclasses above from a mapping, checked as strictly as a file."""
        return schema.build(cls, parse_json(_dump(lambda: values, where).encode(), where), where)


def _dump(values: Callable[[], Any], where: str, indent: int | None = None) -> str:
    try:
        return json.dumps(values(), indent=indent)
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: expected values that JSON can hold ({error})") from error
