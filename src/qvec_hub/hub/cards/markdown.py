"""Small pieces of Markdown. Text from a config or a row is untrusted, so it is escaped first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

__all__ = ["counted", "linked", "plain", "points", "sized", "table"]


def plain(value: Any, limit: int = 120) -> str:
    """Text without Markdown or HTML: on one line, without markup, cut to `limit` characters."""
    text = re.sub(r"[\x00-\x20\x7f]+", " ", str(value)).strip()
    text = re.sub(r"[`|<>\[\]*\\]", "", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the texts of its cells must be free of ``|`` and line breaks."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def points(gain: float) -> str:
    """A difference of shares (-1 to 1) in percentage points, such as ``"+1.9"``."""
    return f"{100 * gain:+.1f}".replace("-", "−")


def counted(number: int, thing: str) -> str:
    """A number with its noun: ``"1 row"`` or ``"1,024 rows"``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def linked(repo_id: str | None, revision: str | None = None) -> str:
    """A link to a model on the Hub, pinned to a commit if one is given; empty without a model."""
    if not repo_id:
        return ""
    if not revision:
        return f"[{plain(repo_id)}](https://huggingface.co/{plain(repo_id)})"
    where = f"https://huggingface.co/{plain(repo_id)}/tree/{plain(revision)}"
    return f"[{plain(repo_id)}]({where}) at `{plain(revision)[:12]}`"


def sized(count: int) -> str:
    """A number of bytes in the decimal unit that suits it, such as ``"343.2 MB"``."""
    number, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
