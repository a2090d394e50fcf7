"""The leaderboard: one HTML file with its data, style and scripts inside, which loads nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from .leaderboard_data import compact
from .treatments import Line, Measured

__all__ = ["leaderboard"]

SCRIPTS = ("measures.js", "rows.js", "leaderboard.js")  # in the order in which they need each other
TERMS = {
    "Accuracy": "the mean share of test images whose class is predicted.",
    "Gain": "accuracy less that of plain rounding (RTN) of the same receiver to the same grid, on the same images. "
    "Green or orange: the whole interval lies above or below zero.",
    "95 % interval": "of the mean gain, from resampling receivers and donors; none where there is one receiver.",
    "Win rate": "the share of rows with a gain above zero.",
    "Recovery": "the gain as a share of what the receiver's own quantization-aware training wins, over the rows where "
    "that is at least 2 points.",
    "Worst": "the lowest gain of a single row.",
    "Receiver data": "what of the receiver's task a deployer must have. A zero-shot method needs none.",
    "λ": "what the vector was multiplied by. λ = 1 needs no choice; another one that is picked from this table is "
    "picked on test images, so that its number is too good.",
    "Control": "what a vector must be better than: a random one of its norms, its own values shuffled, or what plain "
    "fine-tuning changed. The switch above the table shows them.",
    "Own donor": "a vector of the receiver's own task: a ceiling, never a transfer. The second switch shows ceilings, "
    "and the other points of a curve over λ.",
}


def leaderboard(found: Measured, donors: Sequence[Line], title: str, lead: Sequence[str], footer: str) -> str:
    """Write the page as HTML. Names are untrusted: every text is data, and only the page's own scripts may run.

    Args:
        found: all lines of the report.
        donors: a line for each single donor.
        lead: sentences under the title.
        footer: the last line.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    style, script = _read("leaderboard.css"), "\n".join(map(_read, SCRIPTS))
    return environment.from_string(_read("leaderboard.html")).render(
        title=title,
        lead=lead,
        footer=footer,
        terms=TERMS.items(),
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        data=Markup(_json(compact(found, donors))),
    )


def _read(name: str) -> str:
    return files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _json(values: Any) -> str:
    """JSON free of ``</script>`` and ``<!--``, which would end the element it stands in."""
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    """The hash by which a content security policy admits an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
