"""Reference results of the zoo that messages and cards quote; scripts in ``benchmarks/`` write the tables."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["reference_table"]


@cache
def reference_table(name: str) -> dict[str, Any]:
    """Read the table ``<name>.json`` beside this file."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return found
