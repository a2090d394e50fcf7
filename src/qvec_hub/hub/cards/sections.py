"""Regenerate a card without losing what its author wrote: pure text, section by section.

A card's text is cut at its level-two headings. A section that this package wrote says so in its first line
(`MARK`); it is replaced. A section without the mark is the author's and stays where it is, also when it bears
the heading of a generated one: taking the line away is how an author takes a section over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["MARK", "join_card", "merge_sections", "split_card", "split_sections"]

MARK = "<!-- written by qvec_hub: take this line away to keep your own text -->"

_FRONT = re.compile(r"\A(?:\ufeff)?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$\n?", re.DOTALL | re.MULTILINE)
_FENCE = re.compile(r"[ ]{0,3}(```+|~~~+)")


def split_card(card: str) -> tuple[str, str]:
    """A card as the YAML between its ``---`` lines (empty without) and the text below."""
    found = _FRONT.match(card)
    return (found[1], card[found.end() :]) if found else ("", card)


def join_card(front: str, text: str) -> str:
    return f"---\n{front.rstrip()}\n---\n\n{text.strip()}\n"


def split_sections(text: str) -> dict[str, str]:
    """Heading -> section, heading line included, in order; ``""`` is what comes before the first heading.

    A heading that occurs twice is told apart by a number, so that neither is lost.
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
    """The generated sections, with every section the author wrote in the place where it stood.

    Args:
        existing: the text of the card as it is, without its YAML.
        generated: heading -> section as this package would write it now, each holding `MARK`. One without is written
            by hand as well, and newer.
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
