"""`qvec_hub.from_pretrained`: the plugin behind one call that never returns random weights."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import cached_file

from .artifact import CARD_FILE
from .checkpoint import load_classifier, load_complete, load_config
from .errors import ArtifactError, QVecError
from .folders import new_folder
from .grids import Grid
from .model_folder import LAYOUT
from .own_images import checked_images
from .patch import checked_scale, patch_
from .plugin import METHOD, QVecConfig, VectorLike, open_vector
from .progress import Stages

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
        source: the receiver: a folder or a Hub repo id; or a model saved by this package (then without the rest).
        vector: see `QVecConfig`; None adds nothing.
        weights: ``"int2"`` … ``"int8"`` (a vector's own grid of that width, if it has one), a grid's name or a
            `Grid`; None leaves the (patched) model in float.
        scale, rounding, images, progress: see `QVecConfig`. Several vectors and nothing else give the best that is
            known: their mean, a scale chosen on proxy images, codes and scales fitted and tuned on those.
        check_lineage: refuse a receiver that does not descend from the vector's base.
        kwargs: for transformers' ``from_pretrained``: revision, token, cache_dir, local_files_only, dtype, device_map …

    Raises:
        QVecError: one of its children, when anything does not exist, does not fit or cannot be read.
    """
    hub = {key: kwargs[key] for key in ("token", "cache_dir", "local_files_only") if key in kwargs}
    revision = {"revision": kwargs["revision"]} if kwargs.get("revision") else {}
    config = load_config(source, **hub, **revision)
    if config._commit_hash:
        kwargs["revision"] = config._commit_hash
    saved = getattr(config, "quantization_config", None)
    method = saved.get("quant_method") if isinstance(saved, dict) else None
    if saved is not None:
        if method != METHOD:
            raise ArtifactError(
                f"{source}: is quantized by {method!r}; expected a float checkpoint or one of qvec_hub's"
            )
        if vector is not None or weights is not None:
            raise QVecError(
                f"{source}: is quantized already, so a vector or other weights come too late; load it without them, "
                "or start from the float receiver"
            )
        return _load(source, None, **kwargs)
    scale, images = checked_scale(scale), None if images is None else checked_images(images)
    opened = open_vector(vector, **hub)
    if weights is None:
        model = load_classifier(source, **kwargs)
        number = "recommended" if scale is None else scale
        return model if opened is None else patch_(model, opened, number, check_lineage=check_lineage)
    how: dict[str, Any] = {"rounding": rounding, "images": images, "progress": progress}
    quantization = QVecConfig(opened, weights, scale, check_lineage, **how)
    quantization.opened_here = isinstance(vector, (str, Path))
    return _load(source, quantization, **kwargs)


def save_model(
    model: PreTrainedModel,
    folder: str | Path,
    processor_from: str | Path | None = None,
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
        if processor_from is not None:
            found = cached_file(
                str(processor_from), "preprocessor_config.json", _raise_exceptions_for_missing_entries=False
            )
            if found is not None:
                shutil.copyfile(found, scratch / "preprocessor_config.json")
        if card is not None:
            _write_card(scratch, Path(folder).expanduser() / CARD_FILE, card)


def _write_card(folder: Path, old: Path, card: Callable[[str], str]) -> None:
    existing = old.read_text(encoding="utf-8", errors="replace") if old.is_file() else ""
    try:
        (folder / CARD_FILE).write_text(card(existing), encoding="utf-8")
    except ArtifactError as error:
        warnings.warn(f"{old}: not refreshed: {error}", stacklevel=3)


def _load(source: str | Path, config: QVecConfig | None, **kwargs: Any) -> PreTrainedModel:
    if config is not None:
        kwargs["quantization_config"] = config
    return load_complete(source, head_required=True, **kwargs)
