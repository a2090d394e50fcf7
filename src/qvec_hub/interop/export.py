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

__all__ = ["EXPORTERS", "export"]


def export(model: Any, folder: str | Path, to: str = "float") -> None:
    """Write a model, its image processor and a card that says how to load it.

    Args:
        model: a transformers classifier, quantized by this package or float; or a folder or Hub id of one.
        folder: a new or empty folder.
        to: one of `EXPORTERS`: ``"float"``, ``"compressed-tensors"``, ``"onnx"`` or ``"torch"``.

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
    with new_folder(folder, Layout()) as scratch:
        code = chosen.write(opened, scratch)
        write_processor(opened, scratch)
        (scratch / CARD_FILE).write_text(_card(opened, chosen, code, str(folder)), encoding="utf-8")


def _card(model: Any, chosen: Exporter, code: str, folder: str) -> str:
    layers = named_packed_layers(model)
    grid = next(iter(layers.values())).grid.name if layers else None
    weights = f"Its {len(layers)} linear layers are on the grid `{grid}`." if grid else "Its weights are float."
    return (
        f"---\npipeline_tag: image-classification\n---\n\n# {type(model).__name__}, exported to {chosen.name}\n\n"
        f"{weights} Written by `qvec export --to {chosen.name}`: {chosen.about}.\n\n"
        f"## How to load it\n\n```python\n{code.replace('FOLDER', folder)}```\n"
    )
