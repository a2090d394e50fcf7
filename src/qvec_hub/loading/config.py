"""`QVecConfig`: the arguments of a load, and the record of them in a saved ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers.utils.quantization_config import QuantizationConfigMixin

from ..apply.own_images import checked_images
from ..apply.patch import checked_scale
from ..artifact.config import Source
from ..artifact.model_record import METHOD, quantization_record
from ..errors import QVecError
from ..grid.grid import Grid
from ..util.progress import Stages
from ..vector.merge import merge
from ..vector.vector import QuantizationVector

__all__ = ["QVecConfig", "VectorLike", "open_vector"]

VectorLike = str | Path | QuantizationVector | Sequence[str | Path | QuantizationVector]
FOUND = ("watched", "scale_curve", "base_model", "receiver")  # what a record holds beside the arguments of the load


class QVecConfig(QuantizationConfigMixin):
    """Says how to patch and quantize a ViT during loading; a saved ``config.json`` records how it was done.

    Args:
        vector: a repo id (``"org/name"``, ``"org/name@revision"``), a folder, a `QuantizationVector`, a list of
            them (their mean is taken), or None for post-training quantization alone.
        weights: ``"int2"`` … ``"int8"``, ``"ternary"``, a grid's full name, or a `Grid`. For a bare width, a rounding
            that uses images takes ``"intN-channel-trellis"`` up to 3 bits and ``"intN-channel-mse-affine"`` above; a
            vector that is added at a given scale, or rounded to nearest, keeps its own grid if that has this width;
            rounding to nearest without one takes ``"intN-channel-absmax"``.
        scale: the factor of the vector: a finite number, ``"recommended"`` (the value in the vector's config) or
            ``"auto"`` (chosen on proxy images, see `qvec_hub.choose_scale`). Default: ``"auto"`` for a rounding that
            uses images, else ``"recommended"``.
        rounding: ``"nearest"``, ``"gptq"`` (GPTQ's error compensation), ``"fitted"`` (the same, with scales fitted to
            each layer's outputs) or ``"tuned"`` (the same, and then all scales tuned together). All but ``"nearest"``
            run the model on calibration images, proxy images or yours, which takes minutes.
            Default: ``"fitted"`` at 2 and 3 bits where no scale is given or it is ``"auto"``, else ``"nearest"``, the
            published method.
        images: calibration images instead of proxy images: normalized pixel values, float ``(n, channels, height,
            width)``, for example of unlabelled images of the receiver's task. The result is then calibrated, not
            zero-shot.
        progress: called as ``progress(stage, steps_done, steps_in_all)``.
        check_lineage: refuse a receiver that does not descend from the vector's base.
        token, cache_dir, local_files_only: for downloading vectors, as in `QuantizationVector.from_pretrained`; they
            are never saved.

    Attributes:
        watched, scale_curve, base_model, receiver: what the load found, see `quantization_record`; None before.

    Raises:
        QVecError: when an argument is unknown or has a value that is not listed here.
    """

    def __init__(
        self,
        vector: VectorLike | None = None,
        weights: str | Grid | dict[str, Any] = "int3",
        scale: float | str | None = None,
        check_lineage: bool = True,
        *,
        rounding: str | None = None,
        images: Tensor | None = None,
        progress: Stages | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        **unknown: Any,
    ) -> None:
        self.quant_method = METHOD  # type: ignore[assignment]  # transformers compares it as a string
        if unknown:
            raise QVecError(f"QVecConfig: unknown arguments {', '.join(sorted(unknown))}")
        self.grid = Grid.parse(weights)
        self.grid_is_open = isinstance(weights, str) and weights == self.grid.width
        self.vector: Any = vector  # provenance as JSON values once it was added, see `QuantizationVector.provenance`
        self.scale = checked_scale(scale)
        self.rounding = rounding
        self.images = None if images is None else checked_images(images)
        self.progress = progress
        self.check_lineage = check_lineage
        self.opened_here = isinstance(vector, (str, Path))  # no other code holds the vector's tensors
        self.hub = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        self.watched: str | None = None
        self.scale_curve: list[list[float]] | None = None
        self.base_model: dict[str, Any] | None = None
        self.receiver: dict[str, Any] | None = None

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """Make the config of a saved record, the inverse of `to_dict`; transformers calls it.

        Args:
            config_dict: a record, or arguments of `QVecConfig` by name.
            return_unused_kwargs, kwargs: as in transformers.

        Raises:
            QVecError: as `QVecConfig`.
        """
        given = {key: value for key, value in config_dict.items() if key not in ("quant_method", "qvec_hub_version")}
        found = {key: given.pop(key) for key in FOUND if key in given}
        if "grid" in given:
            given["weights"] = given.pop("grid")
        return super().from_dict(given, return_unused_kwargs, **found, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """The entry of ``config.json``: JSON values, with the vectors' provenance instead of their tensors."""
        found = {key: getattr(self, key) for key in FOUND}
        return quantization_record(self.grid, _provenance(self.vector), self.scale, rounding=self.rounding, **found)


def open_vector(vector: Any, **hub: Any) -> QuantizationVector | None:
    """Open the vector that an argument names; the vectors of a list are merged by their mean.

    Raises:
        QVecError: when a vector cannot be opened, or those of the list cannot be merged.
    """
    if vector is None or isinstance(vector, QuantizationVector):
        return vector
    if isinstance(vector, (str, Path)):
        return QuantizationVector.from_pretrained(vector, **hub)
    if isinstance(vector, Mapping) or not isinstance(vector, Sequence):
        raise QVecError(f"vector: expected a repo id, a folder, a QuantizationVector or a list, found {vector!r}")
    opened = [open_vector(item, **hub) for item in vector]
    return merge([item for item in opened if item is not None])


def _provenance(vector: Any) -> list[dict[str, Any]] | None:
    """The `vector` argument as JSON values ``[{repo_id, revision, weight}]``."""
    if vector is None:
        return None
    items = list(vector) if isinstance(vector, (list, tuple)) else [vector]
    sources: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, dict):
            sources.append(dict(item))
        elif isinstance(item, QuantizationVector):
            sources.extend(item.provenance())
        else:
            sources.append(Source(str(item), None, 1.0 / len(items)).to_dict())
    return sources
