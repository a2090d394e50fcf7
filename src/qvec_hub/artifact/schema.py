"""What a value in a vector's config may be, beyond its type."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, StrictInt

from ..util.validation import Finite, Kind, Rule

__all__ = ["COUNTABLE", "MAX_NAME", "NAME", "REPO_ID", "REVISION", "SHA256", "SUBFOLDER", "Sizes"]

MAX_NAME = 300
_PART = r"\w(?:(?:\.-?|-\.?)?\w){0,95}"  # words joined by single dots and dashes
_SUBFOLDER = re.compile(r"[^/\\:]+(/[^/\\:]+)*")

NAME = Rule(f"a name of at most {MAX_NAME} characters", lambda text: len(text) <= MAX_NAME)
REPO_ID = Rule("a Hub repo id such as 'org/name'", re.compile(rf"{_PART}/{_PART}", re.ASCII).fullmatch)
REVISION = Rule("a commit, branch or tag", re.compile(r"\w(?!\S*\.\.)[\w./+-]{0,254}", re.ASCII).fullmatch)
SUBFOLDER = Rule(
    "a relative path without '..'",
    lambda path: len(path) <= MAX_NAME and _SUBFOLDER.fullmatch(path) and not {".", ".."}.intersection(path.split("/")),
)
SHA256 = Rule("64 hexadecimal digits", re.compile(r"[0-9a-f]{64}").fullmatch)
COUNTABLE = Rule("a number that is not negative", lambda number: number >= 0)

_Number = StrictInt | Finite
Sizes = Annotated[
    dict[str, _Number | Annotated[list[_Number], Field(max_length=64)]],
    Field(max_length=64),
    Kind("at most 64 numbers or short lists of numbers"),
]
