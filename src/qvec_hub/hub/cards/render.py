"""Filling a card's template, and the values that templates share."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from .front_matter import dump_front, merge_front, read_front
from .sections import MARK, join_card, merge_sections, split_card, split_sections

__all__ = ["UNKNOWN_LICENSE", "fill_template", "merge_card"]


UNKNOWN_LICENSE = "unknown"  # the Hub's own word; a licence is the author's to choose


def merge_card(existing: str, data: dict[str, Any], text: str) -> str:
    """A card of generated metadata and text, with what the author wrote in the existing one.

    Raises:
        ArtifactError: when the existing card's metadata cannot be read.
    """
    front, body = split_card(existing)
    return join_card(
        dump_front(merge_front(read_front(front, "README.md"), data)), merge_sections(body, split_sections(text))
    )


def fill_template(name: str, context: dict[str, Any]) -> str:
    template = (files(__package__) / "templates" / name).read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)  # Markdown, not HTML
    return environment.from_string(template).render(mark=MARK, **context)
