"""Colours and hatches: Okabe and Ito's palette, which the colour-blind can tell apart."""

from __future__ import annotations

from .lines import Line

__all__ = ["CONTROLS", "HATCHES", "KIND_COLOURS", "MERGED", "MERGES", "SINGLE", "colour"]

SINGLE, MERGED = "#d55e00", "#0072b2"
MERGES = (MERGED, "#009e73", "#cc79a7", "#56b4e9")
CONTROLS = ("#9a9a9a", "#6f6f6f", "#b9b9b9", "#505050")
KIND_COLOURS = {
    "unquantized": "#222222",
    "plain rounding": "#6b6b6b",
    "proxy images": "#009e73",
    "vector": MERGED,
    "vector, chosen scale": "#56b4e9",
    "control": "#c4c4c4",
    "own training": "#e69f00",
    "calibrated": "#cc79a7",
}
HATCHES = {"none": "", "validation images": "....", "images": "////", "training set": "xxxx"}  # by receiver data


def colour(line: Line) -> str:
    """Of a line's kind; a single donor's differs from a merged vector's."""
    is_single = line.kind == "vector" and line.protocol is not None and line.protocol.donors == "one"
    return SINGLE if is_single else KIND_COLOURS[line.kind]
