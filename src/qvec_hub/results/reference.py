"""What was measured on the zoo and is quoted to users: tables that scripts in ``benchmarks/`` write."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["quoted"]


@cache
def quoted(name: str) -> dict[str, Any]:
    """A table, ``<name>.json`` beside this file."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return found
