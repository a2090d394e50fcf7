"""Small pieces of Markdown. What comes from a config or a row is a stranger's, so it is made plain first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

__all__ = ["plain", "points", "table"]


def plain(value: Any, limit: int = 120) -> str:
    """Text that is only text in Markdown: one line, no markup, not endless."""
    text = re.sub(r"[\x00-\x20\x7f]+", " ", str(value)).strip()
    text = re.sub(r"[`|<>\[\]*\\]", "", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def points(gain: float) -> str:
    """A share as signed percentage points."""
    return f"{100 * gain:+.1f}".replace("-", "−")
