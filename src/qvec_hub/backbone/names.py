"""All translations of tensor names, and the separation of head and backbone.

Three namings meet here. *Run-time* names are those of the model in memory and change with the
transformers version (``vit.layers.0.attention.q_proj.weight``). *Canonical* names are those of the base
model's checkpoint on the Hub without the head class's prefix
(``encoder.layer.0.attention.attention.query.weight``) and never change: vectors use them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import PrefixChange, WeightRenaming, apply_renamings

from ..errors import MisfitError

__all__ = ["architecture", "backbone_linears", "backbone_tensors", "canonical_names"]

# A classifier reads the class token, not this layer: checkpoints may carry it, a vector never does.
_UNUSED = ("pooler.dense.",)
_VISION_TOWER = "vision_model"  # of CLIP's image classifier, which is not named after its base model
_ARCHITECTURE_KEYS = (
    "hidden_size",
    "embed_dim",
    "depths",
    "num_heads",
    "window_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "mlp_ratio",
    "image_size",
    "patch_size",
    "num_channels",
)


def architecture(config: Any) -> dict[str, Any]:
    """The sizes of a transformers config that decide the shapes of the backbone's tensors."""
    config = getattr(config, "vision_config", config)
    sizes = {key: getattr(config, key, None) for key in _ARCHITECTURE_KEYS}
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in sizes.items() if value is not None
    }


def canonical_names(model: PreTrainedModel) -> dict[str, str]:
    """Run-time name -> canonical name of every floating tensor of the backbone, head excluded.

    Raises:
        MisfitError: when `model` is not a transformers model with a backbone.
    """
    prefix = _backbone_prefix(model)
    state = model.state_dict(keep_vars=True)
    names = [
        name for name, tensor in state.items() if name.startswith(prefix) and tensor.is_floating_point() and tensor.ndim
    ]
    # The transforms are built afresh: those remembered by the model depend on the names it was loaded from.
    transforms = get_model_conversion_mapping(model, add_legacy=False)
    renamings = [t for t in transforms if isinstance(t, WeightRenaming) and not isinstance(t, PrefixChange)]
    backwards = [renaming.reverse_transform() for renaming in reversed(renamings)]
    canonical = {name: apply_renamings(name, cast(Any, backwards)).removeprefix(prefix) for name in names}
    return {name: canonical[name] for name in names if not canonical[name].startswith(_UNUSED)}


def backbone_tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Canonical name -> the model's own tensor (no copy), in the model's order.

    Raises:
        MisfitError: as `canonical_names`.
    """
    state = model.state_dict()
    return {canonical: state[name] for name, canonical in canonical_names(model).items()}


def backbone_linears(model: PreTrainedModel) -> Iterator[tuple[str, nn.Linear]]:
    """Run-time name and module of every linear layer that gets quantized: the backbone's, never the head's.

    Raises:
        MisfitError: as `canonical_names`.
    """
    prefix = _backbone_prefix(model)
    for name, module in model.named_modules():
        inside = name.startswith(prefix) and not f"{name.removeprefix(prefix)}.".startswith(_UNUSED)
        if inside and isinstance(module, nn.Linear):
            yield name, module


def _backbone_prefix(model: PreTrainedModel) -> str:
    """Prefix of the backbone's tensors: ``"vit."`` for a model with a head, ``""`` for a bare backbone."""
    if not isinstance(model, PreTrainedModel):
        raise MisfitError(f"expected a transformers model, found {type(model).__name__}")
    for prefix in (model.base_model_prefix, _VISION_TOWER):
        if prefix and hasattr(model, prefix):
            return f"{prefix}."
    if model.base_model is model and not hasattr(model, "classifier"):
        return ""
    raise MisfitError(
        f"{type(model).__name__} has no backbone module {prefix!r}, so its head cannot be told apart; "
        "pass an image classifier such as ViTForImageClassification"
    )
