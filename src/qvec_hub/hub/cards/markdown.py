"""Small pieces of Markdown. Text from a config or a row is untrusted, so it is escaped first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

__all__ = ["linked", "plain", "points", "sized", "table"]


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


def linked(repo_id: str | None, revision: str | None = None) -> str:
    """A link to a model, pinned where a commit is known; empty without one."""
    if not repo_id:
        return ""
    if not revision:
        return f"[{plain(repo_id)}](https://huggingface.co/{plain(repo_id)})"
    where = f"https://huggingface.co/{plain(repo_id)}/tree/{plain(revision)}"
    return f"[{plain(repo_id)}]({where}) at `{plain(revision)[:12]}`"


def sized(count: int) -> str:
    """Bytes for people: 343.2 MB."""
    number, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
