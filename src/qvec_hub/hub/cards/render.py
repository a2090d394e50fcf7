"""Filling a card's template, and merging the result with an existing card."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from .front_matter import dump_front, merge_front
from .sections import MARK, join_card, merge_sections, split_sections

__all__ = ["UNKNOWN_LICENSE", "fill_template", "merge_card"]

UNKNOWN_LICENSE = "unknown"  # the Hub's own word; a licence is the author's to choose


def merge_card(front: Mapping[str, Any], text: str, new_front: Mapping[str, Any], new_text: str) -> str:
    """Write a card of generated metadata and text; what the author wrote in the existing card is kept.

    Args:
        front, text: of the existing card.
        new_front, new_text: generated, or of a newer card.
    """
    return join_card(dump_front(merge_front(front, new_front)), merge_sections(text, split_sections(new_text)))


def fill_template(name: str, context: dict[str, Any]) -> str:
    """Fill the Markdown template ``templates/<name>`` with the values of `context`."""
    template = (files(__package__) / "templates" / name).read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)  # Markdown, not HTML
    return environment.from_string(template).render(mark=MARK, **context)
