"""Regenerating a card's text, section by section, without losing what its author wrote.

Sections begin at level-two headings. A section that this package wrote contains the line `MARK` and is replaced. A
section without that line is the author's and stays where it is, even if its heading is that of a generated one: an
author takes a section over by removing the line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["MARK", "join_card", "merge_sections", "split_card", "split_sections"]

MARK = "<!-- written by qvec_hub: take this line away to keep your own text -->"

_FRONT = re.compile(r"\A(?:\ufeff)?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$\n?", re.DOTALL | re.MULTILINE)
_FENCE = re.compile(r"[ ]{0,3}(```+|~~~+)")


def split_card(card: str) -> tuple[str, str]:
    """Split a card into the YAML between its ``---`` lines (empty if there is none) and the text below."""
    found = _FRONT.match(card)
    return (found[1], card[found.end() :]) if found else ("", card)


def join_card(front: str, text: str) -> str:
    """Join YAML and text to a card; the opposite of `split_card`, up to surrounding white space."""
    return f"---\n{front.rstrip()}\n---\n\n{text.strip()}\n"


def split_sections(text: str) -> dict[str, str]:
    """Split a text into heading -> section with its heading line, in order; ``""`` is what precedes all headings.

    The key of a repeated heading ends in ``(again)``, so that no section is lost.
    """
    sections: dict[str, list[str]] = {"": []}
    current, fence = "", ""
    for line in text.splitlines():
        if mark := _FENCE.match(line):
            if not fence:
                fence = mark[1]
            elif mark[1].startswith(fence):
                fence = ""
        if line.startswith("## ") and not fence:
            current = line[3:].strip()
            while current in sections:
                current += " (again)"
            sections[current] = []
        sections[current].append(line)
    return {heading: "\n".join(lines).strip() for heading, lines in sections.items()}


def merge_sections(existing: str, generated: Mapping[str, str]) -> str:
    """Merge generated sections with those that the author wrote, which stay where they were.

    Args:
        existing: the text of the existing card, without its YAML.
        generated: heading -> new section. One without `MARK` was written by hand, too, and replaces an existing one.
    """
    theirs = {
        heading: body
        for heading, body in split_sections(existing).items()
        if body and MARK not in body and MARK in generated.get(heading, MARK)
    }
    if not theirs:
        return "\n\n".join(generated.values())
    was = [heading for heading, body in split_sections(existing).items() if body]
    order = list(generated)
    for heading in (h for h in theirs if h not in generated):
        before = [h for h in was[: was.index(heading)] if h in order]
        order.insert(order.index(before[-1]) + 1 if before else 1, heading)  # 0 is the title
    return "\n\n".join(theirs.get(heading) or generated[heading] for heading in order)
