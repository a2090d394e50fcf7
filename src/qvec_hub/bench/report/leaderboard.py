"""The leaderboard: one HTML file that holds its data, its style and its script, and asks for nothing else."""

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
    "λ": "what the vector was multiplied by. λ = 1 needs no choice; whoever picks another one from this table has "
    "picked it on test images, so that its number is too good.",
    "Control": "what a vector must be better than: a random one of its norms, its own values shuffled, or what plain "
    "fine-tuning changed. The switch above the table shows them.",
    "Own donor": "a vector of the receiver's own task: a ceiling, never a transfer. The second switch shows ceilings, "
    "and the other points of a curve over λ.",
}


def leaderboard(found: Measured, donors: Sequence[Line], title: str, lead: Sequence[str], footer: str) -> str:
    """The page. Names are untrusted: every text in it is data, and only the page's own scripts may run.

    Args:
        donors: a line for each single donor.
        lead: sentences under the title.
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
    """JSON that no text in it can end: the page's parser looks for ``</script>`` and ``<!--``."""
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    """What a content security policy knows an inline script or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
