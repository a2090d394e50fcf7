"""`qvec_hub.from_pretrained`: load, patch and quantize in one call that never returns random weights."""

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
    """Load a ViT image classifier, add a vector to it (``θ_R + λ·ρ_D``, arXiv 2604.03420), and quantize it.

    The same call gives the same codes and scales, bit for bit, on the same machine with the same number of threads
    (``torch.get_num_threads()``). So do the single steps `patch_`, `choose_scale` and `quantize_`. The result does not
    depend on the caller's autocast, default dtype, inference mode or random state, nor on the model's address in
    memory. With ``rounding="nearest"`` and a number as scale it does not depend on the number of threads either. On
    another processor or version of PyTorch, scales may differ in their last bits, and roundings other than
    ``"nearest"`` may choose the other of two equally good codes.

    Args:
        source: the receiver: a folder, ``"org/name"``, ``"org/name@revision"`` or
            ``"hf://org/name[@revision]/subfolder"``. A model that this package saved is loaded as it is; then pass
            neither `vector` nor `weights`.
        vector: a repo id, a folder, a `QuantizationVector` or a list of them (see `QVecConfig`); None adds nothing.
        weights: ``"int2"`` … ``"int8"`` (which grid that is, see `QVecConfig`), a grid's name or a `Grid`; None leaves
            the (patched) model in float.
        scale, rounding, images, progress: see `QVecConfig`. At 2 and 3 bits the defaults are the best known choice:
            scale and codes are found with proxy images (``rounding="fitted"``), which takes minutes.
            ``rounding="nearest"`` is the published method; it takes seconds, and is the default at 4 to 8 bits and
            where a scale is given.
        check_lineage: refuse a receiver that does not descend from the vector's base.
        kwargs: of transformers' ``from_pretrained``: revision, subfolder, token, cache_dir, local_files_only,
            force_download, variant, dtype, device_map, max_memory, attn_implementation, config, and values of the
            config that do not change the weights' shapes. Every other argument is refused by its name.

    Returns:
        The model in evaluation mode. The checkpoint's image processor is saved and pushed with it.

    Raises:
        ArtifactError, HubError: when the receiver or a vector does not exist or cannot be read.
        MisfitError, LineageError: when the vector does not fit the receiver, or was made on another base.
        QVecError: when an argument is unknown or has a value that is not possible.
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
    """Raise when another method quantized the checkpoint, or when it would be quantized twice.

    Raises:
        ArtifactError: when another method quantized it.
        QVecError: when `vector` or `weights` is given for a quantized checkpoint.
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
    """Attach the image processor of the checkpoint that the model was loaded from."""
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
    """Save a model and the image processor of its checkpoint, all files or none.

    Args:
        folder: a new folder, or one with an earlier quantized model, which is replaced; all other files there stay.
        overwrite: also replace a model that this package did not quantize, such as the float receiver.
        card: takes the text of the folder's card ("" without one) and returns the text of the new card.

    Raises:
        ArtifactError: when the folder cannot be written or holds something else; its content is then unchanged.
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
