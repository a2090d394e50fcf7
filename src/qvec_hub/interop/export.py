"""Write a quantized or float model in a format that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..artifact.config import CARD_FILE
from ..errors import ArtifactError
from ..layers.dequantize import named_packed_layers
from ..loading.from_pretrained import from_pretrained
from ..loading.saving import write_processor
from ..util.atomic import new_folder
from ..util.written import Layout
from . import exporters  # noqa: F401  # registers the formats of this package
from .exporters.registry import EXPORTERS, Exporter
from .plain_levels import needs_levels, with_plain_levels
from .zero_points import with_integer_zero_points

__all__ = ["EXPORTERS", "export"]


def export(model: Any, folder: str | Path, to: str = "float", *, refit: bool = False) -> None:
    """Write a model, its image processor and a card that says how to load it.

    Args:
        model: a transformers classifier, quantized by this package or float; or a folder or Hub id of one.
        folder: a new or empty folder.
        to: one of `EXPORTERS`: ``"float"``, ``"compressed-tensors"``, ``"onnx"`` or ``"torch"``.
        refit: move zero points that lie between codes onto codes, which ``"compressed-tensors"`` needs on affine grids.
            The weights change, see `with_integer_zero_points`; the card says by how much.

    Raises:
        ArtifactError: when the folder is not empty or cannot be written; nothing is then left there.
        GridError: when the format cannot hold the model's grid; the message names one that can.
        QVecError: when a package that the format needs is missing, or its exporter fails.
    """
    chosen = EXPORTERS.get(to)
    chosen.refuse_missing()
    target = Path(folder).expanduser()
    if target.is_dir() and any(target.iterdir()):
        raise ArtifactError(f"{folder}: is not empty; expected a new folder for the exported model")
    opened = from_pretrained(model) if isinstance(model, str | Path) else model
    opened, loss = with_integer_zero_points(opened) if refit else (opened, None)
    with new_folder(folder, Layout()) as scratch:
        code = chosen.write(with_plain_levels(opened), scratch)
        write_processor(opened, scratch)
        (scratch / CARD_FILE).write_text(_card(opened, chosen, code, str(folder), loss), encoding="utf-8")


def _card(model: Any, chosen: Exporter, code: str, folder: str, loss: float | None) -> str:
    layers = named_packed_layers(model)
    grid = next(iter(layers.values())).grid.name if layers else None
    weights = f"Its {len(layers)} linear layers are on the grid `{grid}`." if grid else "Its weights are float."
    if any(needs_levels(layer.grid) for layer in layers.values()) and chosen.name != "float":
        weights += " This format has no such codes: it holds the same weights as levels of 8 bits."
    if loss:
        weights += (
            " Its zero points were moved onto codes, which this format needs; that changed the weights by "
            f"{100 * loss:.1f} % (relative error)."
        )
    return (
        f"---\npipeline_tag: image-classification\n---\n\n# {type(model).__name__}, exported to {chosen.name}\n\n"
        f"{weights} Written by `qvec export --to {chosen.name}`: {chosen.about}.\n\n"
        f"## How to load it\n\n```python\n{code.replace('FOLDER', folder)}```\n"
    )
