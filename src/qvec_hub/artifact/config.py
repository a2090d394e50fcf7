"""The artifact, format 1: which files a vector repository holds and what its config says.

The config is strict: a missing or mistyped key is an error that names it, an unknown key only warns, and a newer format
version is refused.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import StrictInt, StrictStr, ValidationError

from ..errors import ArtifactError
from ..grid.grid import Grid
from ..util.untrusted import parse_json, printable, read_file
from ..util.validation import Finite, Stored, findings, validated
from .schema import COUNTABLE, NAME, REPO_ID, REVISION, SHA256, SUBFOLDER, Sizes

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


T = TypeVar("T", bound="_Part")


class _Part(Stored):
    """A part of the config. The keys in `LEFT_OUT` are not written where they are None."""

    LEFT_OUT = frozenset({"subfolder", "relative_error"})

    def to_dict(self) -> dict[str, Any]:
        """The part as JSON values, keys in the order of the fields."""
        return asdict(self, dict_factory=_written)  # type: ignore[call-overload]  # all parts are dataclasses

    @classmethod
    def checked(cls: type[T], values: Any, where: str) -> T:
        """Build the part from parsed JSON; unknown keys only warn.

        Args:
            where: the file, for messages.

        Raises:
            ArtifactError: when a key is missing, mistyped or against its rule; the message names it.
        """
        try:
            part, unknown = validated(cls, values)
        except ValidationError as error:
            found = findings(error)
            missing = [path for each in found for path in each.missing]
            if missing:
                raise ArtifactError(
                    f"{where}: missing {', '.join(missing)}; expected every key of the format"
                ) from None
            raise ArtifactError(f"{where}: {found[0]}") from None
        if unknown:
            shown = ", ".join(printable(path, 60) for path in unknown[:8])
            more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
            warnings.warn(f"{where}: ignoring unknown keys {shown}{more}", stacklevel=4)
        return part

    @classmethod
    def of(cls: type[T], values: Any, where: str) -> T:
        """Build the part from a caller's mapping, checked as strictly as a file.

        Raises:
            ArtifactError: as `checked`, and when JSON cannot hold the values.
        """
        return cls.checked(parse_json(_dump(lambda: values, where).encode(), where), where)


def _written(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in items if value is not None or key not in _Part.LEFT_OUT}


def _dump(values: Callable[[], Any], where: str, indent: int | None = None) -> str:
    try:
        return json.dumps(values(), indent=indent)
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: expected values that JSON can hold ({error})") from error


@dataclass(frozen=True)
class Revision(_Part):
    """A repository at a commit; either may be None, unknown. `subfolder` is the folder in it, None for its root."""

    repo_id: Annotated[StrictStr | None, REPO_ID] = None
    revision: Annotated[StrictStr | None, REVISION] = None
    subfolder: Annotated[StrictStr | None, SUBFOLDER] = None


@dataclass(frozen=True)
class Donor(_Part):
    """The task that a vector was made from, and the two models whose difference it is."""

    task: Annotated[StrictStr | None, NAME] = None
    dataset: Annotated[StrictStr | None, NAME] = None
    dataset_revision: Annotated[StrictStr | None, REVISION] = None
    finetuned: Revision = field(default_factory=Revision)
    qat: Revision = field(default_factory=Revision)


@dataclass(frozen=True)
class Source(_Part):
    """One vector of a merged one, with its weight; `subfolder` is the folder in the repository, None for its root."""

    repo_id: Annotated[StrictStr | None, REPO_ID]
    revision: Annotated[StrictStr | None, REVISION]
    weight: Finite
    subfolder: Annotated[StrictStr | None, SUBFOLDER] = None


@dataclass(frozen=True)
class Encoding(_Part):
    """How the tensors are stored (see `encoding`), and the relative error ``‖ρ − ρ̂‖ / ‖ρ‖``; None if exact."""

    name: Annotated[StrictStr, NAME] = "float32"
    relative_error: Annotated[Finite | None, COUNTABLE] = None


@dataclass(frozen=True)
class TensorSummary(_Part):
    """Content of the tensor files; `sha256` is over the raw float32 bytes of all tensors in order of their names."""

    count: Annotated[StrictInt, COUNTABLE]
    parameters: Annotated[StrictInt, COUNTABLE]
    norm: Annotated[Finite, COUNTABLE]
    sha256: Annotated[StrictStr, SHA256]


@dataclass(frozen=True)
class VectorConfig(_Part):
    """The content of ``qvec_config.json``; `tensors` is None until the vector is saved."""

    format_version: StrictInt
    qvec_hub_version: Annotated[StrictStr, NAME]
    model_type: Annotated[StrictStr, NAME]
    architecture: Sizes
    base_model: Revision
    donor: Donor
    recipe: dict[str, Any]
    grid: Grid
    scale: Finite
    encoding: Encoding
    tensors: TensorSummary | None
    sources: list[Source]

    @property
    def of_base(self) -> bool:
        """Whether it was made from the base itself and belongs to no task, see `distill_donor`."""
        return self.recipe.get("name") == "distill" and self.donor.task is None and not self.sources

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
        """Build a config from parsed JSON.

        Raises:
            ArtifactError: as `read`.
        """
        if not isinstance(values, dict):
            raise ArtifactError(f"{where}: expected a JSON object, found {type(values).__name__}")
        version = values.get("format_version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise ArtifactError(
                f"{where}: format_version {version} is newer than {FORMAT_VERSION}, the newest this qvec_hub reads; "
                "upgrade qvec_hub"
            )
        config = cls.checked(values, where)
        if config.format_version != FORMAT_VERSION:
            raise ArtifactError(f"{where}: format_version must be {FORMAT_VERSION}, found {config.format_version}")
        if config.tensors is None:
            raise ArtifactError(f"{where}: tensors: expected an object, found null")
        return config
