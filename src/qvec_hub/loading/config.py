"""NODOC"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers.quantizers import register_quantization_config
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


@register_quantization_config(METHOD)
class QVecConfig(QuantizationConfigMixin):
    """How to patch and quantize a ViT while it is loaded, and, in a saved ``config.json``, how that was done.

    Args:
        vector: a repo id (``"org/name"``, ``"org/name@revision"``), a folder, a `QuantizationVector`, a list of
            them (their mean is taken), or None for plain post-training quantization.
        weights: ``"int2"`` … ``"int8"``, a grid's full name, or a `Grid`. A bare width means the vector's own grid,
            where that has this width.
        scale: what the vector is multiplied by: a number, ``"recommended"`` (what its config says) or ``"auto"``
            (chosen on proxy images, see `qvec_hub.choose_scale`). By default auto for several vectors together, and
            recommended for one donor's.
        rounding: ``"nearest"``, ``"gptq"`` (error feedback), ``"fitted"`` (that and fitted scales) or ``"tuned"``
            (that, and all scales tuned together), the last three with what proxy images make flow through the model.
            By default tuned for several vectors whose scale is chosen, else nearest.
        images: pixel values ``(n, channels, height, width)`` to use in the place of proxy images, such as unlabelled
            ones of the receiver's task; the result is then calibrated, not zero-shot.
        progress: called with what is being done, steps done, and of how many.
        check_lineage: refuse a receiver that does not descend from the vector's base.
        token, cache_dir, local_files_only: for fetching vectors, as in `QuantizationVector.from_pretrained`; never
            saved.

    Raises:
        QVecError: when an argument is not one of these.
    """

    def __init__(
        self,
        vector: VectorLike | list[dict[str, Any]] | None = None,
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
        self.grid = Grid.parse(unknown.pop("grid", weights))
        self.grid_is_open = isinstance(weights, str) and weights == f"int{self.grid.bits}"
        self.vector = vector
        self.scale = checked_scale(scale)
        self.rounding = rounding
        self.images = None if images is None else checked_images(images)
        self.progress = progress
        self.scale_curve = unknown.pop("scale_curve", None)
        self.watched = unknown.pop("watched", None)  # what codes and scale were found with: of a saved config.json
        self.check_lineage = check_lineage
        self.opened_here = isinstance(vector, (str, Path))  # nobody but this load holds the vector's tensors
        self.hub = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        self.base_model = unknown.pop("base_model", None)  # these two come from a saved config.json or are found out
        self.receiver = unknown.pop("receiver", None)
        for key in ("quant_method", "qvec_hub_version"):  # of a saved config.json
            unknown.pop(key, None)
        if unknown:
            raise QVecError(f"QVecConfig: unknown arguments {', '.join(sorted(unknown))}")

    def to_dict(self) -> dict[str, Any]:
        """What goes into ``config.json``: provenance instead of tensors."""
        found = {"rounding": self.rounding, "watched": self.watched, "scale_curve": self.scale_curve}
        return quantization_record(
            self.grid, _provenance(self.vector), self.scale, self.base_model, self.receiver, **found
        )


def open_vector(vector: Any, **hub: Any) -> QuantizationVector | None:
    """The vector an argument stands for; a list is merged.

    Raises:
        QVecError: when one cannot be opened, or the list does not merge.
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
    """JSON-able ``[{repo_id, revision, weight}]`` of whatever was given as `vector`."""
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
