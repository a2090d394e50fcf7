"""`qvec_hub.from_pretrained`: the plugin behind one call that never returns random weights."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..apply.own_images import checked_images
from ..apply.patch import checked_scale, patch_
from ..artifact.config import CARD_FILE
from ..artifact.model_record import METHOD
from ..backbone.checkpoint import config_of, load_complete
from ..backbone.checkpoint_files import Checkpoint, find_checkpoint
from ..backbone.processor import knows_processor, remember_processor_
from ..errors import ArtifactError, QVecError
from ..grid.grid import Grid
from ..util.atomic import new_folder
from ..util.progress import Stages
from .config import QVecConfig, VectorLike, open_vector
from .keywords import sort_keywords
from .model_layout import LAYOUT
from .saving import save_with_processor_

__all__ = ["from_pretrained", "save_model"]


def from_pretrained(
    source: str | Path,
    vector: VectorLike | None = None,
    weights: str | Grid | None = None,
    scale: float | str | None = None,
    *,
    check_lineage: bool = True,
    rounding: str | None = None,
    images: Tensor | None = None,
    progress: Stages | None = None,
    **kwargs: Any,
) -> PreTrainedModel:
    """Load a ViT image classifier, add a vector to it, and quantize it.

    The same call gives the same codes and scales, bit for bit, on the same machine with the same number of threads
    (``torch.get_num_threads()``), and so do the same steps done by hand (`patch_`, `choose_scale`, `quantize_`):
    whatever the caller's autocast, default dtype, inference mode or random state, and wherever the model lies in
    memory. ``rounding="nearest"`` with a number as scale gives them with any number of threads, too. On other
    processors and versions of PyTorch, scales differ in their last bits, and other roundings may choose another code
    where two are as good.

    Args:
        source: the receiver: a folder, ``"org/name"``, ``"org/name@revision"`` or
            ``"hf://org/name[@revision]/subfolder"``; or a model saved by this package (then without the rest).
        vector: see `QVecConfig`; None adds nothing.
        weights: ``"int2"`` … ``"int8"`` (a vector's own grid of that width, if it has one), a grid's name or a
            `Grid`; None leaves the (patched) model in float.
        scale, rounding, images, progress: see `QVecConfig`. Several vectors and nothing else give the best that is
            known: their mean, a scale chosen on proxy images, codes and scales fitted and tuned on those.
        check_lineage: refuse a receiver that does not descend from the vector's base.
        kwargs: of transformers' ``from_pretrained``: revision, subfolder, token, cache_dir, local_files_only,
            force_download, variant, dtype, device_map, max_memory, attn_implementation, config, and values of the
            config that do not change the weights' shapes. Any other is refused by its name.

    The image processor of the checkpoint is kept with the model, and saved and pushed with it.

    Raises:
        QVecError: one of its children, when anything does not exist, does not fit or cannot be read.
    """
    given = sort_keywords(kwargs)
    checkpoint = find_checkpoint(source, **given.hub)
    config = given.changed(copy.deepcopy(given.config) if given.config is not None else config_of(checkpoint))
    refuse_quantized(source, config, vector, weights)
    loading: dict[str, Any] = {"variant": given.variant, **given.loading}
    hub: dict[str, Any] = {
        key: given.hub[key] for key in ("token", "cache_dir", "local_files_only") if key in given.hub
    }
    scale, images = checked_scale(scale), None if images is None else checked_images(images)
    opened = open_vector(vector, **hub)
    if getattr(config, "quantization_config", None) is not None:
        model = load_complete(checkpoint, config, head_required=True, **loading)
    elif weights is None:
        model = load_complete(checkpoint, config, head_required=True, **{"dtype": torch.float32, **loading})
        if opened is not None:
            patch_(model, opened, "recommended" if scale is None else scale, check_lineage=check_lineage)
    else:
        how: dict[str, Any] = {"rounding": rounding, "images": images, "progress": progress, **hub}
        quantization = QVecConfig(opened, weights, scale, check_lineage, **how)
        quantization.opened_here = isinstance(vector, (str, Path))
        loading["quantization_config"] = quantization
        model = load_complete(checkpoint, config, head_required=True, **loading)
    return save_with_processor_(_with_processor(model, checkpoint, hub))


def refuse_quantized(source: object, config: Any, vector: object, weights: object) -> None:
    """Raise when a checkpoint is quantized by others, or is to be quantized once more.

    Raises:
        ArtifactError, QVecError: as said.
    """
    saved = getattr(config, "quantization_config", None)
    if saved is None:
        return
    method = saved.get("quant_method") if isinstance(saved, dict) else getattr(saved, "quant_method", None)
    if method != METHOD:
        raise ArtifactError(f"{source}: is quantized by {method!r}; expected a float checkpoint or one of qvec_hub's")
    if vector is not None or weights is not None:
        raise QVecError(
            f"{source}: is quantized already, so a vector or other weights come too late; load it without them, "
            "or start from the float receiver"
        )


def _with_processor(model: PreTrainedModel, checkpoint: Checkpoint, hub: dict[str, Any]) -> PreTrainedModel:
    """The model with the image processor of the checkpoint it was loaded from."""
    if not knows_processor(model):
        place = checkpoint.place
        within = {} if place is None else {"revision": place.revision, "subfolder": place.subfolder or ""}
        remember_processor_(model, checkpoint.name, **within, **hub)
    return model


def save_model(
    model: PreTrainedModel,
    folder: str | Path,
    *,
    overwrite: bool = False,
    card: Callable[[str], str] | None = None,
) -> None:
    """Save a model in one step, with the image processor of the checkpoint it came from.

    Args:
        folder: a new one, or one with an earlier quantized model, which is replaced; files of others there stay.
        overwrite: whether to replace another model that the folder holds, such as the float receiver.
        card: the text of the model's card, given that of the card in the folder ("" without one).

    Raises:
        ArtifactError: when the folder cannot be written or holds something else; it keeps what it held.
    """
    with new_folder(folder, LAYOUT, overwrite) as scratch:
        model.save_pretrained(scratch)
        if card is not None:
            _write_card(scratch, Path(folder).expanduser() / CARD_FILE, card)


def _write_card(folder: Path, old: Path, card: Callable[[str], str]) -> None:
    existing = old.read_text(encoding="utf-8", errors="replace") if old.is_file() else ""
    try:
        (folder / CARD_FILE).write_text(card(existing), encoding="utf-8")
    except ArtifactError as error:
        warnings.warn(f"{old}: not refreshed: {error}", stacklevel=3)
