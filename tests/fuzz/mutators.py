"""The register of mutations: each is one idea, a function that changes an artifact in place.

Its verdict says what reading the result must come to. `REFUSED` and `LOADED` are exact; `EITHER` is for random
damage that may hit something harmless.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from qvec_hub.artifact.config import CONFIG_FILE

from .artifacts import Files

REFUSED, LOADED, EITHER = "refused", "loaded", "either"
Change = Callable[[Files, random.Random], None]


class Mutator(NamedTuple):
    """A mutation: how often it runs on each artifact, and what must come of it.

    needs: it runs only on artifacts with this file.
    sealed: the tensors may differ from the original's, as the config's hash was made to agree.
    warns: reading must warn.
    """

    name: str
    change: Change
    verdict: str
    times: int
    needs: str
    sealed: bool
    warns: bool


MUTATORS: dict[str, Mutator] = {}


def mutator(
    verdict: str, times: int = 5, needs: str = CONFIG_FILE, sealed: bool = False, warns: bool = False
) -> Callable[[Change], Change]:
    """Register the decorated function."""

    def register(change: Change) -> Change:
        name = change.__name__
        assert name not in MUTATORS, name
        MUTATORS[name] = Mutator(name, change, verdict, times, needs, sealed, warns)
        return change

    return register
