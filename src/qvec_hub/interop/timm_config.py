"""What timm's ``config.json`` says of a model: its labels, its pooling, and how its images are prepared."""

from __future__ import annotations

import math
from typing import Any

from ..errors import MisfitError
from ..util.untrusted import printable

__all__ = ["is_timm", "labels_in", "processor_of_timm", "refuse_other_model"]

_RESAMPLING = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}  # Pillow's numbers


def is_timm(config: dict[str, Any]) -> bool:
    """Whether a ``config.json`` is timm's own, or of transformers' ``TimmWrapperForImageClassification``."""
    return "architecture" in config and config.get("model_type", "timm_wrapper") == "timm_wrapper"


def refuse_other_model(config: dict[str, Any], said: str) -> None:
    """Raise MisfitError when the config asks for a computation that the tensors do not show."""
    pretrained, args = _dict(config, "pretrained_cfg"), _dict(config, "model_args")
    pooling = args.get("global_pool", config.get("global_pool") or pretrained.get("global_pool") or "token")
    if pooling not in ("token", "avg" if str(config.get("architecture", "")).startswith("swin") else "token"):
        raise MisfitError(
            f"{said}: the model pools by {printable(pooling, 40)!r}; transformers' classifier reads the class token"
        )
    activation = args.get("act_layer")
    if activation not in (None, "gelu"):
        raise MisfitError(f"{said}: the model's activation is {printable(activation, 40)!r}; expected gelu")


def labels_in(config: dict[str, Any], count: int) -> list[str] | None:
    """The names of the classes in the order of the outputs; None if the config does not tell `count` of them."""
    for where in (config, _dict(config, "pretrained_cfg")):
        names = where.get("label_names")
        if isinstance(names, list) and len(names) == count and all(isinstance(name, str) for name in names):
            described = where.get("label_descriptions")
            return [str(described.get(name, name)) for name in names] if isinstance(described, dict) else list(names)
    return None


def processor_of_timm(config: dict[str, Any], image_size: int, said: str) -> Any | None:
    """The image processor that does what timm's transform for evaluation does.

    timm resizes the shorter side to ``image_size / crop_pct`` and cuts out the centre. Where an odd number of pixels is
    cut away, transformers rounds the crop's place down and timm to the nearest even number: one pixel apart.

    Args:
        image_size: of the converted model, in pixels.

    Returns:
        A transformers image processor; None when the config does not say how images are prepared.

    Raises:
        MisfitError: when a value is impossible.
    """
    cfg = _dict(config, "pretrained_cfg")
    if not {"mean", "std"} <= cfg.keys():
        return None
    from transformers import CLIPImageProcessorPil, ViTImageProcessorPil

    mean, std = _three(cfg, "mean", said), _three(cfg, "std", said)
    crop, mode = cfg.get("crop_pct", 0.875), cfg.get("crop_mode", "center")
    resampling = _RESAMPLING.get(str(cfg.get("interpolation", "bicubic")))
    if not isinstance(crop, int | float) or isinstance(crop, bool) or not 0 < crop <= 1 or resampling is None:
        raise MisfitError(
            f"{said}: pretrained_cfg says crop_pct {printable(crop, 40)} and interpolation "
            f"{printable(cfg.get('interpolation'), 40)}; expected a share and one of {', '.join(_RESAMPLING)}"
        )
    common: dict[str, Any] = {"image_mean": mean, "image_std": std, "resample": resampling}
    size = {"height": image_size, "width": image_size}
    if mode == "squash":
        return ViTImageProcessorPil(size=size, **common)
    if mode != "center":
        raise MisfitError(f"{said}: pretrained_cfg crops images by {printable(mode, 40)!r}; expected center or squash")
    return CLIPImageProcessorPil(size={"shortest_edge": math.floor(image_size / crop)}, crop_size=size, **common)


def _three(cfg: dict[str, Any], key: str, said: str) -> list[float]:
    values = cfg[key]
    if not isinstance(values, list | tuple) or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        raise MisfitError(f"{said}: pretrained_cfg says {key} {printable(values, 60)}; expected a number a channel")
    return [float(value) for value in values]


def _dict(config: dict[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}
