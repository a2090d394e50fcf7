"""An ordinary float checkpoint, with the grid's values as weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .plain import plain_copy
from .registry import exporter

__all__ = ["write_float"]


@exporter("float", "an ordinary float checkpoint of transformers, for any other tool")
def write_float(model: Any, folder: Path) -> str:
    plain_copy(model).save_pretrained(folder)
    return (
        "from transformers import AutoModelForImageClassification\n\n"
        'model = AutoModelForImageClassification.from_pretrained("FOLDER")\n'
    )
