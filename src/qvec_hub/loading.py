"""`qvec_hub.from_pretrained`: the plugin behind one call that never returns random weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import cached_file

from .checkpoint import load_classifier, load_complete, load_config
from .errors import ArtifactError, QVecError
from .folders import new_folder
from .grids import Grid
from .patch import patch_
from .plugin import METHOD, QVecConfig, VectorLike, open_vector
from .processor import knows_processor, remember_processor_
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
    hub: dict[str, Any] = {key: kwargs[key] for key in ("token", "cache_dir", "local_files_only") if key in kwargs}
    within = {"subfolder": kwargs["subfolder"]} if kwargs.get("subfolder") else {}
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
        return _with_processor(_load(source, None, **kwargs), source, **hub, **within)
    opened = open_vector(vector, **hub)
    if weights is None:
        model = _with_processor(load_classifier(source, **kwargs), source, **hub, **within)
        number = "recommended" if scale is None else scale
        return model if opened is None else patch_(model, opened, number, check_lineage=check_lineage)
    how: dict[str, Any] = {"rounding": rounding, "images": images, "progress": progress, **hub}
    model = _load(source, QVecConfig(opened, weights, scale, check_lineage, **how), **kwargs)
    return _with_processor(model, source, **hub, **within)


def _with_processor(model: PreTrainedModel, source: str | Path, **hub: Any) -> PreTrainedModel:
    """The model with the image processor of the checkpoint it was loaded from."""
    if not knows_processor(model):
        remember_processor_(model, source, revision=getattr(model.config, "_commit_hash", None), **hub)
    return model


def save_model(model: PreTrainedModel, folder: str | Path, processor_from: str | Path | None = None) -> None:
    """Save a model in one step, with the image processor of the checkpoint it came from.

    Raises:
        ArtifactError: when the folder cannot be written; it keeps what it held.
    """
    with new_folder(folder, owned=lambda name: name == "config.json" or name.startswith("model")) as scratch:
        model.save_pretrained(scratch)
        if processor_from is not None:
            found = cached_file(
                str(processor_from), "preprocessor_config.json", _raise_exceptions_for_missing_entries=False
            )
            if found is not None:
                shutil.copyfile(found, scratch / "preprocessor_config.json")


def _load(source: str | Path, config: QVecConfig | None, **kwargs: Any) -> PreTrainedModel:
    if config is not None:
        kwargs["quantization_config"] = config
    return load_complete(source, head_required=True, **kwargs)
