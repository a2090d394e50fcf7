"""The models of a suite: timm checkpoints, converted once into a folder of their own.

<root>/vit_small_patch16_224.augreg_in21k_ft_in1k/model          the transformers model and its image processor
<root>/vit_small_patch16_224.augreg_in21k_ft_in1k/origin.json    where it came from
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import StrictStr, ValidationError
from transformers import PreTrainedConfig

from ...backbone.checkpoint import load_config
from ...backbone.checkpoint_files import find_checkpoint, read_config
from ...errors import ArtifactError, first_line
from ...interop.convert import convert
from ...results.row import NUMBER, TEXT
from ...util.atomic import write_text
from ...util.validation import Finite, Stored, findings, validated
from ..receiver import hash_of
from .suite import short_name

__all__ = ["AnchorModel", "open_models"]

ORIGIN_FILE = "origin.json"
TIMM_DEFAULTS = {"crop_pct": 0.875, "interpolation": "bicubic"}  # where a config does not say it


@dataclass(frozen=True)
class Origin(Stored):
    """What a converted model was made of.

    Attributes:
        source: as the suite names it.
        commit: of its repository; None for a folder.
        weights: ``sha256:…`` of the converted weights.
        crop_pct, interpolation: of timm's evaluation, as its own tables have them.
    """

    source: Annotated[StrictStr, TEXT]
    commit: Annotated[StrictStr | None, TEXT]
    weights: Annotated[StrictStr, TEXT]
    crop_pct: Annotated[Finite, NUMBER]
    interpolation: Annotated[StrictStr, TEXT]


@dataclass(frozen=True)
class AnchorModel:
    """A converted model: its folder, and where it came from."""

    folder: Path
    origin: Origin

    @property
    def revision(self) -> str:
        """What rows name: the commit of the repository, or for a folder the hash of the converted weights."""
        return self.origin.commit or self.origin.weights

    def config(self) -> PreTrainedConfig:
        """The model's config, read again at each call."""
        config: PreTrainedConfig = load_config(self.folder)
        return config


def open_models(
    sources: list[str], root: Path, say: Callable[[str], None], token: str | None = None
) -> dict[str, AnchorModel]:
    """Open the models of these names, after converting those that are missing.

    Raises:
        ArtifactError: when a folder holds another model, or one that was changed; a checkpoint cannot be read; or the
            disk is full.
        HubError: when the Hub refuses or is not reached.
        MisfitError: when transformers has no model that computes the same.
    """
    found = {}
    for source in sources:
        place = root / short_name(source)
        if not (place / ORIGIN_FILE).exists():
            say(f"converting {source}, which is done once")
            _convert(source, place, token)
        found[source] = _open(source, place)
    return found


def _convert(source: str, place: Path, token: str | None) -> None:
    checkpoint = find_checkpoint(source, token=token)
    said: Any = read_config(checkpoint).get("pretrained_cfg")
    cfg: dict[str, Any] = TIMM_DEFAULTS | (said if isinstance(said, dict) else {})
    hub: dict[str, Any] = {"token": token} | ({"revision": checkpoint.commit} if checkpoint.commit else {})
    convert(source, place / "model", overwrite=True, **hub)  # refuses values of the config that are impossible
    weights = hash_of(place / "model")
    origin = Origin(source, checkpoint.commit, weights, float(cfg["crop_pct"]), str(cfg["interpolation"]))
    write_text(place / ORIGIN_FILE, json.dumps(asdict(origin), indent=1) + "\n")


def _open(source: str, place: Path) -> AnchorModel:
    path = place / ORIGIN_FILE
    try:
        origin, _ = validated(Origin, json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ArtifactError(f"{path}: {findings(error)[0]}; remove '{place}' to convert {source} again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{path}: expected where the model came from, found something else ({first_line(error)}); remove '{place}' "
            f"to convert {source} again"
        ) from error
    found = hash_of(place / "model")
    if origin.source != source or origin.weights != found:
        raise ArtifactError(
            f"{place}: expected {source} with the weights {origin.weights}, found {origin.source} with {found}; remove "
            "the folder to convert it again, or name another with --models"
        )
    return AnchorModel(place / "model", origin)
