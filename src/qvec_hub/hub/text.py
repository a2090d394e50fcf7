"""Small pieces of a card's Markdown."""

from __future__ import annotations

from ..markdown import plain, points, table

__all__ = ["linked", "plain", "points", "sized", "table"]


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
